"""Reads the daemon in threads: events from a list that is true, figures, and one console's log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

from banger.client.client import BangerClient
from banger.client.events import parse_events
from banger.client.transport import ConnectionCut
from banger.errors import BangerError
from banger.tui.world import Figures, Lost, News, Snapshot

#: Seconds between two looks at what VMs use.
INTERVAL = 1.0
#: Seconds between two tries to reach a daemon that went away, and the longest such pause.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
#: Lines of a console that are shown at first.
TAIL = 400


class _Stopped(Exception):
    """The reader is to end; raised while its connection is idle."""


class Reader:
    """A thread that reads until ``stop``; nothing waits for it longer than a tick."""

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, wait: bool = False) -> None:
        """Let it end; ``wait`` for that, two seconds at most."""
        self._stop.set()
        if wait and self._thread.is_alive():
            self._thread.join(2.0)

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def _check(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _main(self) -> None:
        with suppress(_Stopped):
            self.run()

    def run(self) -> None:
        """What the thread does."""
        raise NotImplementedError


class EventFeed(Reader):
    """Hands all lists, then every event after them to ``sink``; again after each break.

    The stream is opened before the lists are read, so nothing falls between the two; what it
    brings meanwhile is told after them.
    """

    def __init__(self, client: BangerClient, sink: Callable[[News], None]) -> None:
        super().__init__("events")
        self._client = client
        self._sink = sink

    def run(self) -> None:
        pause = FIRST_PAUSE
        while not self.stopped:
            began = time.monotonic()
            try:
                self._follow()
                error: BangerError = ConnectionCut(
                    "bangerd ended the stream of events",
                    cause="it stops, or the screen was too slow for it",
                    resolution="banger daemon status",
                )
            except BangerError as met:
                error = met
            self._check()
            self._sink(Lost(error))
            lasted = time.monotonic() - began
            pause = FIRST_PAUSE if lasted > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            self._stop.wait(pause)

    def _follow(self) -> None:
        stream = self._client.stream("/v1/events", on_idle=self._check)
        with closing(stream):
            for event in parse_events(self._announced(stream)):
                self._check()
                self._sink(event)

    def _announced(self, stream: Iterator[bytes]) -> Iterator[bytes]:
        """The pieces; once the first is there, the daemon notes every change for us."""
        first = next(stream, None)
        if first is None:
            return
        self._sink(read_all(self._client))
        yield first
        yield from stream


def read_all(client: BangerClient) -> Snapshot:
    """Every list of the daemon. Raises the errors of the client."""
    return Snapshot(client.vms(), client.images(), client.operations(active=False), client.daemon())


class FigureFeed(Reader):
    """Looks at what the VMs use, once an ``INTERVAL`` while ``wanted`` says so."""

    def __init__(
        self, client: BangerClient, sink: Callable[[News], None], wanted: Callable[[], bool]
    ) -> None:
        super().__init__("figures")
        self._client = client
        self._sink = sink
        self._wanted = wanted

    def run(self) -> None:
        while not self._stop.wait(INTERVAL):
            if not self._wanted():
                continue
            try:
                stats = self._client.all_stats()
            except BangerError:
                continue  # the event feed tells what is wrong
            self._check()
            self._sink(Figures(stats))


class LogFeed(Reader):
    """Hands the console log of one VM to ``sink`` as it grows; b"" says that it ended."""

    def __init__(self, client: BangerClient, vm_id: str, sink: Callable[[bytes], None]) -> None:
        super().__init__("log")
        self._client = client
        self._vm_id = vm_id
        self._sink = sink

    def run(self) -> None:
        try:
            pieces = self._client.logs(self._vm_id, follow=True, lines=TAIL, on_idle=self._check)
            with closing(pieces):
                for piece in pieces:
                    self._check()
                    self._sink(piece)
        except BangerError as error:
            if not self.stopped:
                self._sink(f"({error.brief})\n".encode())
            return
        if not self.stopped:
            self._sink(b"")
