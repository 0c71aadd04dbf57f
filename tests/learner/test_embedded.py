"""RLlib in one process alone: is there never a Ray under a learner?"""

from __future__ import annotations

import subprocess
import sys

import pytest

from serving import ROOT

# In a process of its own: another test may have attached this one to a Ray.
LIFE = """
import sys
from serving.learner import light_start
import ray
from test_dqn import Learning

sizes = {"learning_starts": 0} if sys.argv[1] == "DQN" else {"batch_size": 50, "minibatch_size": 25, "epochs": 2}
first, second = (Learning(run=sys.argv[1], **sizes) for _ in range(2))
first.algorithm.publish()
first.feed(60, "terminated")
first.algorithm.training_step(0.5)
first.algorithm.save(sys.argv[2])
second.algorithm.load(sys.argv[2])
second.algorithm.publish()
assert second.algorithm.counters == first.algorithm.counters
assert first.algorithm.counters.env_steps == 60 and first.algorithm.counters.updates
assert not ray.is_initialized()
print("lived")
"""


@pytest.mark.parametrize("run", ["DQN", "PG", "PPO"])
def test_a_learner_needs_no_ray(run, tmp_path):
    """Does an algorithm build, learn, save and restore where nothing may start a Ray?"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIFE, run, str(tmp_path / "state")],
        capture_output=True, text=True, timeout=280, cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'learner'}", "PATH": "",
             "RAY_ENABLE_AUTO_CONNECT": "0"},
    )  # fmt: skip
    assert done.stdout.endswith("lived\n"), done.stderr[-2000:]


HEAVY = {
    "the policy server": ("serving.simple_policy_server", {"torch", "ray", "pandas", "matplotlib"}),
    "the client": ("serving", {"torch", "ray", "pandas", "uvicorn", "gymnasium"}),
    "the learner": (
        "serving.learner.light_start, serving.learner.process, serving.learner.dqn",
        {
            "torch._dynamo",
            "sympy",
            "rfc3987_syntax",
            "tensorflow",
            "matplotlib",
            "jupyterlab",
            "pandas",
            "pyarrow",
            "ray.data",
            "torch.export",
        },
    ),
}


@pytest.mark.parametrize("who", HEAVY)
def test_what_a_start_imports(who):
    """Is what took a second of a start, and nobody needs, still kept out of it?"""
    modules, heavy = HEAVY[who]
    code = f"import sys, {modules}; \
    print(*(n for n, m in sys.modules.items() if m and type(m).__name__ != 'LeftOut'))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, timeout=280, cwd=ROOT, check=True,
    )  # fmt: skip
    assert not heavy & set(done.stdout.split())
