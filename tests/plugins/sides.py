"""Two processes for a whole run: one has the lab host for itself, the other this host.

``--numprocesses=2`` (pytest-xdist) asks for it. Style and unit tests go to whichever is free, file
by file; then one side takes the lab's tests, which touch nothing here, and the other all that make
guests, TAPs, rules and users of this host: among themselves those run one at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugins.ladder import rung_of

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

#: The rungs whose tests may run beside any other.
ANYWHERE = {"style", "unit", ""}
HOST = "host"


def side_of(path: Path) -> str:
    """The name of what must stay in one process: a test file's path, the lab, or this host."""
    rung = rung_of(path)
    return str(path) if rung in ANYWHERE else "lab" if rung == "lab" else HOST


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """In one of the two: a shorter folder for its files, as a socket's path holds 107 bytes."""
    if hasattr(config, "workerinput"):
        folder = Path(config.option.basetemp)
        config.option.basetemp = folder.with_name(folder.name.removeprefix("popen-gw"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    from xdist.scheduler import LoadScopeScheduling

    class SideScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return side_of(config.rootpath / nodeid.partition("::")[0])

    config.option.loadscopereorder = False  # cheap tests first, as the ladder has them
    return SideScheduling(config, log)
