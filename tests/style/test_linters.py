"""The linters are tests: what they refuse does not land."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins.guards import GIVEN_ENVIRONMENT
from tests.requirements import needs
from tests.style.sources import ROOT, committed_files

BIN = Path(sys.executable).parent
FOLDERS = ["src", "tests", "bench", "packaging"]


def _passes(*argv: str) -> None:
    done = subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, check=False, env=GIVEN_ENVIRONMENT
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(argv)}\n{done.stdout}\n{done.stderr}", pytrace=False)


def test_import_contracts() -> None:
    _passes(str(BIN / "lint-imports"))


def test_types() -> None:
    _passes(sys.executable, "-m", "mypy")


def test_lint() -> None:
    _passes(str(BIN / "ruff"), "check", *FOLDERS)


def test_format() -> None:
    _passes(str(BIN / "ruff"), "format", "--check", *FOLDERS)


def _shell_scripts() -> list[Path]:
    scripts = [path for path in committed_files() if path.suffix == ".sh"]
    return sorted([*scripts, ROOT / ".ci/run"])


@pytest.mark.parametrize("script", _shell_scripts(), ids=lambda path: path.name)
def test_shell_syntax(script: Path) -> None:
    _passes("sh", "-n", str(script))


@needs("shellcheck")
def test_shell_scripts() -> None:
    _passes("shellcheck", *map(str, _shell_scripts()))
