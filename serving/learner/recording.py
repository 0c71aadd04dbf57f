"""Operations of torch, recorded while Python runs them, and played back without Python."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from serving.learner.uncompiled import uncompiled


@uncompiled
class Recording(TorchDispatchMode):
    """What torch does inside a `with` block, operation by operation, gradients included.

    torch.fx's `make_fx` records the same, and takes 90 MB of memory and half a second for it, as it
    can do with shapes that vary.
    """

    def __init__(self):
        super().__init__()
        self.operations: list[tuple] = []

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        made = operation(*arguments, **(named or {}))
        self.operations.append((operation, arguments, named or {}, made))
        return made


class Playback(torch.nn.Module):
    """Does what was recorded, with other inputs of the same shapes.

    Tensors that came from elsewhere, such as parameters, are what they are when it is called: they
    are buffers here, as TorchScript takes constants for numbers that stay what they are.
    """

    def __init__(self, recording: Recording, inputs: tuple[torch.Tensor, ...], result):
        super().__init__()
        self._operations, self._inputs, self._result = recording.operations, inputs, result
        made, self._given = {id(tensor) for tensor in inputs}, {}
        for _, arguments, named, outcome in self._operations:
            for part in tensors_of((arguments, named)):
                if id(part) not in made and id(part) not in self._given:
                    self._given[id(part)] = name = f"given_{len(self._given)}"
                    self.register_buffer(name, part.detach())
            made.update(map(id, tensors_of(outcome)))

    def forward(self, *inputs: torch.Tensor):
        now = {tensor: getattr(self, name) for tensor, name in self._given.items()}
        now.update((id(then), tensor) for then, tensor in zip(self._inputs, inputs))

        def of_now(part):
            return now[id(part)] if isinstance(part, torch.Tensor) else part

        for operation, arguments, named, made in self._operations:
            again = operation(*tree_map(of_now, arguments), **tree_map(of_now, named))
            now.update((id(then), new) for then, new in zip(tensors_of(made), tensors_of(again)))
        return tree_map(of_now, self._result)


def tensors_of(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
