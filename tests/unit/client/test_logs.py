"""A console that is followed."""

from __future__ import annotations

import threading

import pytest

from banger.client import client as module
from banger.client.client import BangerClient
from tests.fakes.cli_home import CLIHome


def test_a_silent_console_is_no_dead_daemon(
    banger: CLIHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    banger.fake.add_vm("web", state="running")
    banger.fake.logs = b"first\n"
    silence = threading.Event()
    banger.fake.follow_logs = _Late(silence)
    monkeypatch.setattr(module, "STREAM_TIMEOUT", 0.2)
    client = BangerClient(str(banger.fake.socket_path))
    pieces = client.logs("web", follow=True, lines=0)
    assert next(pieces) == b"first\n"
    threading.Timer(0.5, silence.set).start()
    assert next(pieces) == b"late\n"
    pieces.close()


class _Late:
    """One piece, when the event is set."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def __iter__(self) -> _Late:
        return self

    def __next__(self) -> bytes:
        if self._event.is_set():
            raise StopIteration
        self._event.wait(10)
        return b"late\n"
