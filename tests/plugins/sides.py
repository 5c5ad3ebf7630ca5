"""Two processes for a whole run: one begins with the lab hosts, the other has this host.

``--numprocesses=2`` (pytest-xdist) asks for it. Style and unit tests go to whichever is free, file
by file; then one process takes all tests that make guests, TAPs, rules and users of this host:
among themselves those run one at a time. The other takes the lab's tests file by file, each with a
lab host of its own and nothing here, and whoever is done helps with the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugins.ladder import rung_of

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import WorkerController

#: The rungs whose tests may run beside any other, file by file.
ANYWHERE = {"style", "unit", "lab", ""}
#: What marks a test in the lab's folder that runs on this host as well, in its parameter.
HERE = "[here"
HOST = "host"


def side_of(nodeid: str, top: Path) -> str:
    """The name of what must stay in one process: a test file's path, or this host."""
    path, _, name = nodeid.partition("::")
    return path if rung_of(top / path) in ANYWHERE and HERE not in name else HOST


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
            return side_of(nodeid, config.rootpath)

        def _reschedule(self, node: WorkerController) -> None:
            """As late as can be: a file that waits for a busy process could run in the other."""
            if not self.workqueue or self._pending_of(self.assigned_work[node]) <= 1:
                super()._reschedule(node)

    config.option.loadscopereorder = False  # cheap tests first, as the ladder has them
    return SideScheduling(config, log)
