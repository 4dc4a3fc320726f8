"""Tests on real frameworks run where a variable names the interpreter of an environment that has one.

Elsewhere they are left out, with a line that names the variable: these environments cannot be part of ours, so such a
test is not one that was forgotten, as a skipped one would be.
"""

import os
from pathlib import Path

import pytest

FRAMEWORKS = ("recbole", "rectools", "replay")


def variable_of(framework: str) -> str:
    return f"SEQMEND_{framework.upper()}_PYTHON"


@pytest.fixture
def python_of():
    """The interpreter that has a framework."""
    return lambda framework: Path(os.environ[variable_of(framework)])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    absent = {framework for framework in FRAMEWORKS if variable_of(framework) not in os.environ}
    left_out = [item for item in items if "python_of" in getattr(item, "fixturenames", ()) and _of(item) in absent]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for framework in FRAMEWORKS:
        n = sum(
            "python_of" in getattr(item, "fixturenames", ()) and _of(item) == framework
            for item in terminalreporter.stats.get("deselected", [])
        )
        if n:
            terminalreporter.write_line(f"{n} tests left out: {variable_of(framework)} names no interpreter")


def _of(item: pytest.Item) -> str:
    return item.callspec.params["framework"]
