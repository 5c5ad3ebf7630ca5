"""The project's own files, as git has them, parsed once for all style tests."""

from __future__ import annotations

import ast
import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/banger"


@dataclass(frozen=True, slots=True)
class Module:
    """One Python file of the package."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())


def _module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def modules() -> tuple[Module, ...]:
    """Every module of the package, by name. Files copied into guests are data, not modules."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if "guest_files" not in path.relative_to(PACKAGE).parts:
            text = path.read_text(encoding="utf-8")
            found.append(Module(_module_name(path), path, text, ast.parse(text)))
    return tuple(found)


def imports(module: Module) -> set[str]:
    """The absolute names of all that a module imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@functools.cache
def committed_files() -> tuple[Path, ...]:
    """Every file that git knows or would add; in an unpacked release, every file."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        hidden = {".venv", ".git", "__pycache__", "build", "dist"}
        every = (path for path in ROOT.rglob("*") if path.is_file())
        return tuple(path for path in every if not hidden & set(path.relative_to(ROOT).parts))
    names = (ROOT / name.decode() for name in listing.split(b"\0") if name)
    return tuple(path for path in names if path.is_file())
