"""What torch and RLlib import although no learner uses it: half of a learner's start, and 180 MB.

Import this before them, in a process that only learns: RLlib's tuner, data sets and offline readers
do not work afterwards. Found with `python -X importtime`.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types

# What is imported at the top of modules that RLlib wants, and used in none that learns here.
LEFT_OUT = (
    "pandas",  # by ray.tune, for tables of results: 0.3 s
    "pyarrow",  # by ray.tune, for file systems: 0.1 s
    "ray.data",  # by ray.air, "a hack to avoid circular import": 0.2 s; with those two 85 MB
    "torch.export",  # 0.2 s
    "torch._meta_registrations",  # shapes of tensors that hold no numbers: 0.3 s, 20 MB
    # torch's compiler, told by a seed to be deterministic and by Adam where to stop: 1.5 s, 90 MB.
    "torch._inductor",
    "torch._dynamo",
)


class LeftOut(types.ModuleType):
    """A module of which nothing is used but names, in annotations and in `isinstance`."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_, **__):
            raise NotImplementedError(
                f"{self.__name__}.{name} is left out of learners: see {__name__}.LEFT_OUT"
            )

        kind = type(name, (), {"__module__": self.__name__, "__new__": refuse})
        setattr(self, name, kind)
        return kind


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the packages of LEFT_OUT, and all that is in them, before Python does."""

    def find_spec(self, name, path=None, target=None):
        if any(name == left or name.startswith(f"{left}.") for left in LEFT_OUT):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return LeftOut(spec.name)

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, Finder())
# `import ray` imports jsonschema, whose checker of web addresses builds a grammar with this package,
# which comes with JupyterLab: 1 s. jsonschema takes an ImportError for "not installed".
sys.modules.setdefault("rfc3987_syntax", None)
import serving.learner.uncompiled  # noqa: E402, F401 - and torch
