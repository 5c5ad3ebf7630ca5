"""What Ctrl-C and a termination do while a request is on its way or a clean-up runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held() -> Iterator[None]:
    """Delay ``KeyboardInterrupt`` to the end of the block; a second Ctrl-C exits at once.

    For requests whose reply says what there is to cancel: an interrupt before the reply was
    read would leave work behind of which nobody knows.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # As a shell starts its background jobs: Ctrl-C is meant for others.
        yield
        return
    pending: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        if pending:
            os._exit(128 + number)
        pending.append(number)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pending:
            raise KeyboardInterrupt


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP act as Ctrl-C, so that clean-ups run then too."""

    def interrupt(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def forwarded() -> Iterator[int]:
    """Turn signals into bytes on a descriptor, which is yielded, instead of acting on them.

    The third Ctrl-C is not forwarded any more but ends banger.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    interrupts: list[int] = []

    def forward(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            interrupts.append(number)
            if len(interrupts) > 2:
                raise KeyboardInterrupt
        os.write(writing, bytes([number]))

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, forward) for n in wanted if signal.getsignal(n) != signal.SIG_IGN}
    try:
        yield reading
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
