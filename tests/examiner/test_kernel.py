"""Who is told that this is grading: the kernel that grades, and nobody else."""

from __future__ import annotations

import asyncio
import os

import pytest
from grading import NEEDS_SANDBOX, ROOT
from nbconvert.exporters import NotebookExporter
from nbgrader.converters import Autograde
from nbgrader.preprocessors import Execute
from nbgrader.validator import Validator
from traitlets.config import PyFileConfigLoader

from serving.connection import GRADING
from serving.examiner.kernel import GradingKernelManager, seconds_for


@pytest.fixture
def nbgraders_configuration(monkeypatch):
    """As nbgrader's extensions read it inside the Jupyter server, and nbgrader's commands."""
    monkeypatch.setenv("PATH", os.environ["PATH"])  # put back what it changes
    monkeypatch.delenv(GRADING, raising=False)
    return PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()


def test_reading_the_configuration_tells_nobody(nbgraders_configuration):
    """Does the Jupyter server, whose environment kernels and terminals inherit, stay as it was?"""
    assert GRADING not in os.environ


def test_autograde_uses_the_grading_kernel_and_validate_does_not(nbgraders_configuration):
    """Is it only nbgrader's Autograde that starts its kernels by our manager, and with our times?"""
    autograde = Autograde(config=nbgraders_configuration)
    exporter = NotebookExporter(parent=autograde, config=autograde.config)
    for preprocessor in autograde.autograde_preprocessors:
        exporter.register_preprocessor(preprocessor)
    (execute,) = (p for p in exporter._preprocessors if isinstance(p, Execute))
    assert execute.kernel_manager_class is GradingKernelManager
    assert execute.timeout_func is seconds_for

    validator = Validator(config=nbgraders_configuration)
    (execute,) = (p(parent=validator) for p in validator.preprocessors if issubclass(p, Execute))
    assert execute.kernel_manager_class is not GradingKernelManager
    assert execute.timeout_func is None


@NEEDS_SANDBOX
def test_the_grading_kernel_is_told():
    """Does a kernel it starts know, and the process that started it not?"""

    async def asked() -> str:
        manager = GradingKernelManager(kernel_name="python3")
        await manager.start_kernel()
        client = manager.client()
        client.start_channels()
        try:
            await client.wait_for_ready(60)
            said = []
            await client.execute_interactive(
                f"import os; print(os.environ.get({GRADING!r}), end='')",
                output_hook=lambda message: said.append(message["content"].get("text") or ""),
                timeout=60,
            )
            return "".join(said)
        finally:
            client.stop_channels()
            await manager.shutdown_kernel(now=True)

    assert asyncio.run(asked()) == "8900"
    assert GRADING not in os.environ
