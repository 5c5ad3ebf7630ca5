"""A private set of XDG folders, the real command line in it, and an end that leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import coverage

from banger.paths import Paths
from tests.plugins.guards import GIVEN_ENVIRONMENT, home_environment
from tests.plugins.inventory import end_processes_of, ids_in, remove_links_of

#: Seconds that one command may take unless the test says otherwise.
TIMEOUT = 300.0


class Result(NamedTuple):
    """What a command left: exit status and decoded streams."""

    status: int
    stdout: str
    stderr: str


class CommandLine(ABC):
    """banger as its user sees it, on whatever host it runs."""

    @abstractmethod
    def run_bytes(
        self, *arguments: str, stdin: bytes = b"", timeout: float = TIMEOUT, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``banger ARGUMENTS``; ``variables`` add to its environment."""

    @abstractmethod
    def on_host(
        self, *argv: str, stdin: bytes = b"", timeout: float = TIMEOUT
    ) -> subprocess.CompletedProcess[bytes]:
        """Run another program as the same user on the same host."""

    @abstractmethod
    def logs(self) -> Iterator[tuple[str, str]]:
        """The tails of all logs, to be shown beside a failure."""

    def __call__(
        self, *arguments: str, stdin: str = "", timeout: float = TIMEOUT, **variables: str
    ) -> Result:
        done = self.run_bytes(*arguments, stdin=stdin.encode(), timeout=timeout, **variables)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return Result(done.returncode, out, err)

    def ok(self, *arguments: str, **options: Any) -> str:
        """Run a command that must succeed and return what it printed."""
        result = self(*arguments, **options)
        assert result.status == 0, f"banger {' '.join(arguments)}: {result}"
        return result.stdout

    def json(self, *arguments: str, **options: Any) -> Any:
        """Run a command that must succeed with ``--json`` and return the decoded output."""
        return json.loads(self.ok(*arguments, "--json", **options))


class Home(CommandLine):
    """One set of XDG folders below a short path, and the CLI run inside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = _environment(root)
        self.paths = Paths.from_environment(self.environment, os.geteuid())
        for variable in home_environment(root):
            Path(self.environment[variable]).mkdir(mode=0o700, exist_ok=True, parents=True)

    def run_bytes(
        self, *arguments: str, stdin: bytes = b"", timeout: float = TIMEOUT, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*program(), *arguments],
            input=stdin,
            capture_output=True,
            env=self.environment | variables,
            timeout=timeout,
            check=False,
        )

    def on_host(
        self, *argv: str, stdin: bytes = b"", timeout: float = TIMEOUT
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=timeout,
            check=False,
        )

    def clear(self) -> None:
        """End everything that was started from this home, and remove the home."""
        if self.paths.database.exists():
            self("vm", "delete", "--all", "--force", timeout=120)
            self("daemon", "stop", timeout=60)
        end_processes_of(self.root)
        remove_links_of(ids_in(self.paths))
        shutil.rmtree(self.root, ignore_errors=True)

    def logs(self) -> Iterator[tuple[str, str]]:
        for path in (self.paths.daemon_log, *sorted(self.paths.vms.glob("*/*.log"))):
            if path.is_file():
                tail = path.read_bytes()[-4000:].decode(errors="replace")
                yield str(path.relative_to(self.root)), tail


def program() -> list[str]:
    """The installed command beside this Python, as a user would run it."""
    installed = Path(sys.executable).with_name("banger")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "banger.cli.main"]


def _environment(root: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in GIVEN_ENVIRONMENT.items()
        if not name.startswith(("BANGER_", "XDG_", "PYTEST_", "COLUMNS", "NO_COLOR"))
    }
    # The machine's own hosts file is nobody's to play with; tests/e2e/test_names.py has another.
    own = {"TERM": "dumb", "LC_ALL": "C.UTF-8", "BANGER_NAMES": "off"}
    return kept | own | _coverage() | home_environment(root)


def _coverage() -> dict[str, str]:
    """Measure the commands and the daemon too, when this run is measured.

    Not on the e2e rung: the rungs below run nearly all of the same lines, and measuring made each
    command and daemon there take twice as long.
    """
    on_e2e = os.environ.get("PYTEST_CURRENT_TEST", "").startswith("tests/e2e/")
    if coverage.Coverage.current() is None or on_e2e:
        return {}
    top = Path(__file__).parents[2]
    return {
        "COVERAGE_PROCESS_START": str(top / "pyproject.toml"),
        "COVERAGE_FILE": str(top / ".coverage"),
    }
