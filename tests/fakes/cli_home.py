"""The CLI run in this process against a fake daemon, with its own folders."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from banger.cli.main import main
from tests.fakes.daemon import FakeDaemon
from tests.fakes.daemon_server import Server

#: Variables that would change what is printed.
UNSET = ("COLUMNS", "NO_COLOR", "BANGER_NO_COLOR", "_BANGER_COMPLETE")


class Result(NamedTuple):
    """What one command left."""

    status: int
    stdout: str
    stderr: str


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class CLIHome:
    """Folders, a fake daemon and the command line."""

    def __init__(self, root: Path):
        self.root = root
        self.guest = root / "guest"
        self.guest.mkdir()
        self.environment = {
            "HOME": str(root),
            "XDG_STATE_HOME": str(root / "state"),
            "XDG_DATA_HOME": str(root / "data"),
            "XDG_CACHE_HOME": str(root / "cache"),
            "XDG_CONFIG_HOME": str(root / "config"),
            "XDG_RUNTIME_DIR": str(root / "run"),
            "TERM": "xterm",
        }
        self.fake = FakeDaemon(root / "run/banger/bangerd.sock", guest=self.guest)
        self.server = Server(self.fake)

    def __call__(
        self,
        *argv: str,
        stdin: bytes = b"",
        columns: int = 80,
        terminal: bool = False,
        **variables: str,
    ) -> Result:
        """Run ``banger ARGV``; ``terminal`` makes stdout and stderr claim to be one."""
        kind = Terminal if terminal else io.TextIOWrapper
        out, err = (kind(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        environment = {k: v for k, v in os.environ.items() if k not in UNSET}
        environment |= self.environment | {"COLUMNS": str(columns)} | variables
        with tempfile.NamedTemporaryFile() as file:
            file.write(stdin)
            file.flush()
            with (
                Path(file.name).open(encoding="utf-8") as keyboard,
                mock.patch.dict(os.environ, environment, clear=True),
                mock.patch.multiple(sys, stdout=out, stderr=err, stdin=keyboard),
            ):
                status = main(argv)
        return Result(status, *(_text(stream) for stream in (out, err)))

    def sent(self, method: str, path: str = "") -> list[Any]:
        """The bodies of the requests of ``method`` whose path begins with ``path``."""
        return [b for m, p, b in self.fake.requests if m == method and p.startswith(path)]

    def close(self) -> None:
        self.server.end()
        shutil.rmtree(self.root)


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


@contextmanager
def cli_home() -> Iterator[CLIHome]:
    """A home for one test; the path is short because a socket's path must be."""
    home = CLIHome(Path(tempfile.mkdtemp(prefix="bgr-cli-")))
    try:
        yield home
    finally:
        home.close()
