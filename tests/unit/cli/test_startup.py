"""What a command loads, and how soon it is there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fakes.cli_home import CLIHome

#: Packages that cost more than all the rest of a listing together.
FORBIDDEN = {
    "asyncio", "ssl", "email", "subprocess", "dataclasses", "rich", "msgspec", "tomllib",
    "importlib.metadata", "http.client", "hashlib", "secrets", "logging", "tempfile", "shutil",
    "tarfile", "starlette", "uvicorn", "sqlite3", "textual",
}  # fmt: skip
#: Modules after ``vm list``, the interpreter's own included.
BUDGET = 142

PROGRAM = """
import sys
from banger.cli.main import main
status = main(sys.argv[1:])
print(status, len(sys.modules), *sorted(sys.modules), file=sys.stderr)
"""


def loaded(banger: CLIHome, *argv: str) -> tuple[int, int, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *argv],
        capture_output=True,
        text=True,
        env=os.environ | banger.environment,
        check=True,
    )
    status, count, *names = done.stderr.splitlines()[-1].split()
    return int(status), int(count), set(names)


@pytest.mark.parametrize(
    "argv",
    [
        ("vm", "list"),
        ("ls", "--json"),
        ("show", "web"),
        ("start", "db"),
        ("image", "list"),
        ("exec", "-n", "web", "true"),
        ("--help",),
        ("run", "--help"),
        ("logs", "web"),
    ],
    ids=" ".join,
)
def test_only_what_is_needed_is_loaded(banger: CLIHome, argv: tuple[str, ...]) -> None:
    banger.fake.add_vm("web", state="running")
    banger.fake.add_vm("db")
    status, count, names = loaded(banger, *argv)
    assert status == 0
    assert not names & FORBIDDEN
    assert not any(name.startswith("banger.model") for name in names)
    if argv == ("vm", "list"):
        assert count <= BUDGET, sorted(names)


def test_a_command_does_not_load_another(banger: CLIHome) -> None:
    _, _, names = loaded(banger, "vm", "list")
    ours = {name for name in names if name.startswith("banger.cli.")}
    assert "banger.cli.vm_list" in ours
    assert not ours & {"banger.cli.vm_run", "banger.cli.exec", "banger.cli.doctor"}
