"""The pages under docs/ agree with the code they describe."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

from banger.errors import EXEC_FAILED, PARTLY_FAILED, families
from banger.paths import Paths
from tests.style.sources import ROOT, modules

FOLDERS = ("state", "data", "cache", "config", "runtime")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def _every_path() -> list[str]:
    """Each file that banger.paths can name, with ID for an id."""
    paths = Paths(**{folder: Path("/" + folder) for folder in FOLDERS})
    found = []
    for name, member in inspect.getmembers(Paths):
        if name.startswith("_") or name in FOLDERS:
            continue
        if isinstance(member, property):
            found.append(getattr(paths, name))
        elif inspect.isfunction(member):
            found.append(member(paths, "ID"))
    return [str(path).lstrip("/") for path in found]


def test_the_layout_page_names_every_path() -> None:
    page = (ROOT / "docs/state-layout.md").read_text(encoding="utf-8")
    listed = {
        line.split("`")[1].rstrip("/") for line in page.splitlines() if line.startswith("| `")
    }
    assert set(_every_path()) <= listed
    assert listed - set(_every_path()) == set()


def test_the_exit_code_page_names_every_code_and_status() -> None:
    for module in modules():
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)  # an error class may stand beside its use
    rows = {}
    for line in (ROOT / "docs/exit-codes.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[1].isdigit():
            rows[int(cells[1])] = set(re.findall(r"`(\w+)`", cells[2]))
    for code, error in families().items():
        assert code in rows[error.exit_status], f"{code} ends with {error.exit_status}"
    assert PARTLY_FAILED in rows
    assert f"{EXEC_FAILED} means that banger failed" in (ROOT / "docs/exit-codes.md").read_text()


def test_links_between_pages_lead_somewhere() -> None:
    dead = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
        for link in LINK.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert not dead


def _rows_of_the_specification() -> dict[str, list[str]]:
    """Row id -> what its last cell names, of docs/spec.md."""
    rows = {}
    for line in (ROOT / "docs/spec.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split(" | ")]
        if re.fullmatch(r"\| [A-Z]\d", cells[0]) and len(cells) == 4:
            rows[cells[0].removeprefix("| ")] = re.findall(r"`([^`]+)`", cells[3])
    return rows


def _functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_every_row_of_the_specification_is_held_by_tests_that_exist() -> None:
    rows = _rows_of_the_specification()
    families = {"R": 9, "V": 7, "D": 5, "S": 7, "N": 6, "I": 9, "T": 1, "H": 3}
    assert set(rows) == {f"{f}{n}" for f, last in families.items() for n in range(1, last + 1)}
    for row, tests in rows.items():
        assert tests, f"{row} is held by no test"
        for test in tests:
            path, _, name = test.partition("::")
            assert name in _functions(path), f"{row}: there is no {test}"
