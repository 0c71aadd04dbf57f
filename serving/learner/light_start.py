"""What RLlib and torch import although nothing here uses it: a second and a half of a learner's start,
and 80 MB. Found with `python -X importtime`; import this module before them.

Nothing is replaced by something else: one package counts as not installed, and one that compiles
functions is not asked to leave functions uncompiled.
"""

from __future__ import annotations

import sys

# `import ray` imports jsonschema, whose checker of web addresses builds a grammar with this package,
# which comes with JupyterLab: 1 s. jsonschema takes an ImportError for "not installed".
sys.modules.setdefault("rfc3987_syntax", None)

import torch  # noqa: E402


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
uncompiled(torch.optim.Adam)
