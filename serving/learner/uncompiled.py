"""Classes of torch whose methods run without its compiler, and without importing it."""

from __future__ import annotations

import torch


def uncompiled(kind: type) -> type:
    """A class whose methods run without torch's compiler.

    torch wraps methods of optimizers and of dispatch modes so that, when one is first called,
    torch._dynamo is imported (0.9 s, 80 MB) to be told not to compile it. Nothing here compiles
    anything. What the wrapper (torch/_compile.py) would come to use is kept in the attribute that
    is set here.
    """
    for method in vars(kind).values():
        if function := getattr(method, "__wrapped__", None):
            function.__dynamo_disable = function
    return kind


uncompiled(torch.optim.Optimizer)
# Its step imports the compiler only to tell it that gradients are off here.
torch.optim.Adam.step = torch.no_grad()(torch.optim.Adam.step.__wrapped__)
