from __future__ import annotations

import io

from banger.cli.progress import Display
from banger.cli.transfer import render_transfer
from banger.client.events import ReceivedEvent


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def display(*, animated: bool, encoding: str = "utf-8") -> tuple[Display, Clock, io.BytesIO]:
    clock, data = Clock(), io.BytesIO()
    stream = io.TextIOWrapper(data, encoding=encoding, write_through=True)
    # The wrapper closes the buffer when it is collected; the display keeps it alive.
    return Display(stream, "start web", animated=animated, now=clock), clock, data


def step(position: int, title: str, phase: str) -> ReceivedEvent:
    return ReceivedEvent("step", {"position": position, "title": title, "phase": phase})


def test_plain_lines_for_finished_steps() -> None:
    shown, clock, data = display(animated=False)
    shown.on_event(step(0, "make disk", "intent"))
    shown.on_event(step(0, "make disk", "done"))
    assert data.getvalue() == b"", "nothing is shown in the first 300 ms"
    shown.on_event(step(1, "start VMM", "intent"))
    clock.time += 1
    shown.on_event(step(1, "start VMM", "done"))
    shown.on_event(step(1, "start VMM", "done"))
    shown.on_event(ReceivedEvent("log", {"title": "download", "fraction": 0.1, "detail": ""}))
    shown.on_event(ReceivedEvent("log", {"title": "download", "fraction": 0.9, "detail": ""}))
    shown.on_event(step(1, "start VMM", "undone"))
    shown.close()
    assert data.getvalue().decode().splitlines() == [
        "start web: make disk",
        "start web: start VMM",
        "start web: download",
        "start web: undone: start VMM",
    ]


def test_the_living_line() -> None:
    shown, clock, data = display(animated=True)
    shown.on_event(step(0, "wait for\x1b SSH", "intent"))
    shown.draw()
    assert data.getvalue() == b""
    clock.time += 2.4
    shown.on_event(ReceivedEvent("log", {"title": "wait", "fraction": 0.5, "detail": "3 MiB"}))
    text = data.getvalue().decode()
    assert text.startswith("\r\x1b[K⠼ start web: wait  [##########----------]  50%  3 MiB  0s")
    shown.on_event(step(0, "wait", "done"))
    shown.close()
    assert data.getvalue().endswith(b"\r\x1b[K")


def test_slow_steps_get_a_line_of_their_own() -> None:
    shown, clock, data = display(animated=True, encoding="ascii")
    shown.on_event(step(0, "quick", "intent"))
    shown.on_event(step(0, "quick", "done"))
    shown.on_event(step(1, "slow", "intent"))
    clock.time += 2
    shown.on_event(step(1, "slow", "done"))
    shown.close()
    text = data.getvalue().decode()
    assert "* start web: slow  2.0s\n" in text
    assert "quick" not in text


def test_transfers() -> None:
    assert render_transfer("copy web", 5 << 20, 20 << 20, 2.0) == (
        "copy web  [#####---------------]  25%  5 MiB of 20 MiB  2.5 MiB/s"
    )
    assert render_transfer("copy web", 512, 0, 0.0) == "copy web  512 B"
