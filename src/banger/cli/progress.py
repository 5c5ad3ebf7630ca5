"""Shows an operation while it runs: a living line on a terminal, finished steps elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from banger.cli.session import animates, terminal_width, wants_colour
from banger.cli.text import clean, paint, shorten
from banger.client.client import BangerClient
from banger.client.events import ReceivedEvent
from banger.client.follow import failure, follow
from banger.client.views import OperationView, ended

#: Seconds in which nothing is shown, because most operations are done by then.
QUIET_TIME = 0.3
#: A step that took less is not worth a line of its own on a terminal.
WORTH_A_LINE = 0.15
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PLAIN_SPINNER = "|/-\\"
BAR = 20

VERBS = {"vm.create": "create", "vm.start": "start", "vm.stop": "stop", "vm.kill": "kill",
         "vm.restart": "restart", "vm.delete": "delete", "vm.rename": "rename",
         "vm.set": "change", "vm.clone": "clone", "vm.rebuild": "rebuild",
         "vm.pause": "pause", "vm.resume": "resume", "vm.nat": "set NAT of",
         "vm.forward": "forward", "image.build": "build image",
         "image.register": "register image", "image.import": "import image",
         "image.keep": "keep image", "image.customize": "customize image",
         "image.rename": "rename image", "image.delete": "delete image"}  # fmt: skip


def label(operation: OperationView) -> str:
    """What the operation does, for people: ``start web``."""
    verb = VERBS.get(operation["kind"], operation["kind"])
    return f"{verb} {operation['target']['name']}".rstrip()


class Display:
    """Draws on ``stream``; ``animated`` chooses between the living line and plain lines."""

    def __init__(
        self,
        stream: TextIO,
        title: str,
        *,
        animated: bool,
        colour: bool = False,
        now: Callable[[], float] = time.monotonic,
    ):
        self._stream = stream
        self._title = title
        self._animated = animated
        self._colour = colour
        self._now = now
        self._began = self._step_began = now()
        self._step = ""
        self._fraction: float | None = None
        self._detail = ""
        self._finished: set[tuple[int, str]] = set()
        self._told: set[str] = set()
        self._held: list[str] = []
        self._drawn = False
        unicode = (getattr(stream, "encoding", "") or "").lower().startswith("utf")
        self._spinner = SPINNER if unicode else PLAIN_SPINNER
        self._tick_mark = "✓" if unicode else "*"

    def on_event(self, event: ReceivedEvent) -> None:
        """Take note of one event of the operation."""
        data = event.data
        if event.kind == "step":
            self._on_step(int(data["position"]), str(data["title"]), str(data["phase"]))
        elif event.kind == "log":
            self._on_log(str(data.get("title") or ""), data.get("fraction"), data.get("detail"))
        self.draw()

    def _on_step(self, position: int, title: str, phase: str) -> None:
        if phase == "intent":
            self._begin(title)
        elif (position, phase) not in self._finished:
            # A replay after a reconnection tells everything again.
            self._finished.add((position, phase))
            took = self._now() - self._step_began
            self._say(title if phase == "done" else f"undone: {title}", took)
            self._begin("")

    def _on_log(self, title: str, fraction: float | None, detail: str | None) -> None:
        if title and title != self._step:
            if not self._animated and title not in self._told:
                # Phases may come and go several times; once is enough to be told.
                self._told.add(title)
                self._say(title, None)
            self._begin(title)
        self._fraction = fraction
        self._detail = detail or ""

    def _begin(self, title: str) -> None:
        self._step = title
        self._fraction = None
        self._detail = ""
        self._step_began = self._now()

    def _say(self, text: str, took: float | None) -> None:
        """A finished step; kept back until the operation has lasted long enough to matter."""
        line = f"{self._title}: {clean(text)}"
        if self._animated:
            if took is None or took < WORTH_A_LINE:
                return
            mark = paint(self._tick_mark, "green", colour=self._colour)
            line = f"{mark} {line}  {paint(f'{took:.1f}s', 'dim', colour=self._colour)}"
        self._held.append(line)
        self._release()

    def _release(self) -> None:
        if self._held and self._now() - self._began >= QUIET_TIME:
            self._erase()
            self._stream.write("".join(line + "\n" for line in self._held))
            self._stream.flush()
            self._held.clear()

    def draw(self) -> None:
        """Draw the living line again; called for every event and while nothing happens."""
        self._release()
        elapsed = self._now() - self._began
        if not self._animated or elapsed < QUIET_TIME:
            return
        spinner = self._spinner[int(elapsed * 10) % len(self._spinner)]
        parts = [f"{spinner} {self._title}"]
        if self._step:
            parts[0] += f": {clean(self._step)}"
        if self._fraction is not None:
            full = round(max(0.0, min(1.0, self._fraction)) * BAR)
            parts.append(f"[{'#' * full}{'-' * (BAR - full)}] {self._fraction:4.0%}")
        if self._detail:
            parts.append(clean(self._detail))
        parts.append(f"{self._now() - self._step_began:.0f}s")
        self._stream.write("\r\x1b[K" + shorten("  ".join(parts), (terminal_width() or 80) - 1))
        self._stream.flush()
        self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._drawn = False

    def close(self) -> None:
        """Take the living line away."""
        self._erase()
        self._stream.flush()


def complete(
    client: BangerClient, operation: OperationView, *, quiet: bool = False
) -> OperationView:
    """Show ``operation`` until it ends; its error is raised."""
    stream = sys.stderr
    display = Display(
        stream, label(operation), animated=animates(stream), colour=wants_colour(stream)
    )
    try:
        if not ended(operation):
            operation = follow(
                client,
                operation["id"],
                (lambda _: None) if quiet else display.on_event,
                display.draw if display_lives(quiet=quiet, stream=stream) else None,
            )
    finally:
        display.close()
    error = failure(operation)
    if error is not None:
        raise error
    return operation


def display_lives(*, quiet: bool, stream: TextIO) -> bool:
    """Whether the display has to be drawn while nothing happens."""
    return not quiet and animates(stream)
