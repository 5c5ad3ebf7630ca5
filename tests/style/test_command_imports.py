"""What a quick command may import: each of these costs more than the command itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.plugins.guards import GIVEN_ENVIRONMENT

HEAVY = {
    "asyncio", "ssl", "email", "subprocess", "dataclasses", "rich", "msgspec",
    "importlib.metadata", "logging", "sqlite3", "http.client", "starlette", "uvicorn",
}  # fmt: skip
#: Modules in all, built-in ones included.
BUDGET = 150
PROBE = """
import sys
from banger.cli.main import main
main({arguments!r})
print(*sorted(sys.modules), file=sys.stderr)
"""


def _imported(*arguments: str) -> set[str]:
    # No coverage in the child: it would import what is looked for.
    environment = {k: v for k, v in GIVEN_ENVIRONMENT.items() if not k.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(arguments=list(arguments))],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("vm", "list", "--help")], ids=" ".join
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    modules = _imported(*arguments)
    assert not modules & HEAVY
    assert len(modules) <= BUDGET
