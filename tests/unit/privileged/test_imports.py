"""What the root side imports: it starts anew for each batch, so each module is felt every time."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from banger.privileged import execute
from banger.privileged.calls import CATALOGUE

SOURCE = Path(execute.__file__).parents[2]
#: Each of these costs more than what a call does, and none may come back by another's import.
DEAR = {
    "ast", "dataclasses", "importlib.resources", "inspect", "tempfile", "tokenize",
    "typing", "zipfile",
}  # fmt: skip
#: Only some calls need these.
FOR_SOME = {"ctypes", "hashlib", "shutil", "socket", "subprocess"}
BASE = {
    "callers_files", "calls", "checks", "execute", "frozen", "installation", "jail_calls", "main",
    "sudoers",
}  # fmt: skip
#: As the installed program: see ``installation.rendered_program``.
PROBE = """
import sys
sys.path.insert(0, {source!r})
from banger.privileged.main import main
import os
os.chdir("/")
os.environ.clear()
from banger.privileged import calls, execute
kinds = [calls.CATALOGUE[name] for name in {names!r}]
execute.load(kinds)
print(*sys.modules)
print(*(module.__file__ for name, module in sys.modules.items() if name.startswith("banger.")))
"""


def _imported(*names: str) -> set[str]:
    """The modules that are there once those calls may be carried out; banger's by short name."""
    probe = PROBE.format(source=str(SOURCE), names=names)
    done = subprocess.run(
        [sys.executable, "-IBSc", probe], capture_output=True, text=True, check=True, env={}
    )
    modules, files = done.stdout.splitlines()
    assert all(file.startswith(f"{SOURCE}/banger/privileged/") for file in files.split())
    return {name.removeprefix("banger.privileged.") for name in modules.split()}


def test_a_start_imports_what_every_batch_needs_alone() -> None:
    modules = _imported()
    assert not modules & (DEAR | FOR_SOME)
    ours = {path.stem for path in (SOURCE / "banger/privileged").glob("*.py")}
    assert modules & ours == BASE


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("tap_create", {"socket"}),
        ("nat_apply", {"hashlib", "socket"}),
        ("hosts_block_set", set()),
        ("resolved_set", set()),
        ("snapshot_attach", set()),
        ("jail_start", {"hashlib"}),
    ],
)
def test_a_call_imports_no_more_than_it_needs(name: str, more: set[str]) -> None:
    modules = _imported(name)
    assert modules & (DEAR | FOR_SOME) == more
    doers = set(execute._MODULES.values())
    assert modules & doers == {execute._MODULES[CATALOGUE[name]]}


def test_all_calls_together_import_nothing_dear() -> None:
    assert not _imported(*CATALOGUE) & DEAR


def test_every_call_has_who_carries_it_out() -> None:
    assert execute._MODULES.keys() == set(CATALOGUE.values())
    for name in execute._MODULES.values():
        assert callable(import_module(f"banger.privileged.{name}").perform)
