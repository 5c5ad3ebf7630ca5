"""A real terminal for a program, driven and read by tmux."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Seconds between two looks at the screen.
_PAUSE = 0.05


class Tmux:
    """One tmux server of its own with one window, in which ``argv`` runs."""

    def __init__(
        self,
        socket: Path,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        columns: int,
        rows: int,
    ) -> None:
        self._socket = socket
        self._environment = dict(environment)
        self._run(
            "-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows),
            # The shell stays, so that one sees how the program left the terminal.
            f"{shlex.join(argv)}; echo \"ended with $?\"; exec sh",
        )  # fmt: skip

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), *arguments],
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=30,
            check=True,
        )
        return done.stdout

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names for them."""
        self._run("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type the characters of ``text``."""
        self._run("send-keys", "-l", text)

    def text(self) -> str:
        """What is on the screen."""
        return self._run("capture-pane", "-p")

    def until(self, *texts: str, gone: str = "", timeout: float = 30.0) -> str:
        """Wait until all ``texts`` are on the screen and ``gone`` is not; the screen then."""
        deadline = time.monotonic() + timeout
        while True:
            screen = self.text()
            if all(text in screen for text in texts) and not (gone and gone in screen):
                return screen
            assert time.monotonic() < deadline, f"{texts} did not appear in:\n{screen}"
            time.sleep(_PAUSE)

    def end(self) -> None:
        """End the server with everything in it."""
        subprocess.run(
            ["tmux", "-S", str(self._socket), "kill-server"], capture_output=True, check=False
        )
