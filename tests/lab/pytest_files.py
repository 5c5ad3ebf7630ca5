"""pytest as this environment has it, for a run inside the lab host: the Python is the same."""

from __future__ import annotations

import re
import sysconfig
from importlib.metadata import Distribution
from pathlib import Path

#: What ``tests/conftest.py`` and the settings of pytest ask for.
WANTED = ("pytest", "pytest-asyncio", "pytest-timeout", "hypothesis", "coverage")
_NAME = re.compile(r"[\w.-]+")


def closure(wanted: tuple[str, ...] = WANTED) -> list[Distribution]:
    """The distributions and all that they need, without their extras."""
    waiting, found = list(wanted), dict[str, Distribution]()
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found[name] = Distribution.from_name(name)
        for line in found[name].requires or ():
            requirement, _, marker = line.partition(";")
            match = _NAME.match(requirement)
            if match and not marker:
                waiting.append(match[0])
    return list(found.values())


def given() -> list[str]:
    """Arguments of ``tar`` that add them, and the tests beside which they can be imported."""
    folder = Path(sysconfig.get_path("purelib"))
    tops = {
        file.parts[0]
        for distribution in closure()
        for file in distribution.files or ()
        if ".." not in file.parts and not file.name.endswith(".pth")
    }
    top = Path(__file__).parents[2]
    return ["-C", str(top), "tests", "pyproject.toml", "-C", str(folder), *sorted(tops)]
