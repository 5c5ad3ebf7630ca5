"""The program's reply to every kind of request, with the host left out."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.privileged import execute, installation, main
from banger.privileged.calls import (
    CATALOGUE_VERSION,
    Call,
    CallFailed,
    TapDelete,
    TapFacts,
    TapShow,
    call_to_json,
)

ID = "0123456789ab"
SHOW = TapShow(f"bgr{ID}")
DELETE = TapDelete(f"bgr{ID}", f"banger:1000:{ID}")


class Host:
    """Notes what is done, and as whom."""

    def __init__(self) -> None:
        self.done: list[tuple[Call, int]] = []

    def perform(self, batch: Sequence[Call], uid: int) -> list[TapFacts]:
        self.done += [(call, uid) for call in batch]
        return [TapFacts(f"bgr{ID}", 0, "") for _ in batch]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(installation, "unsafe_folder", lambda prefix: "")
    monkeypatch.setattr(installation, "sudoers_problem", lambda *_: "")
    monkeypatch.setattr(main, "_LOCKS", tmp_path / "locks")
    return Host()


def send(host: Host, request: object, caller: int | None = 1000) -> dict[str, object]:
    data = request if isinstance(request, bytes) else json.dumps(request).encode()
    return main.answer(io.BytesIO(data).read, caller, Path("/nowhere"), host.perform)


def batch(*calls: Call, version: object = CATALOGUE_VERSION) -> dict[str, object]:
    return {"version": version, "calls": [call_to_json(call) for call in calls]}


def reason(reply: dict[str, object]) -> str:
    error = reply["error"]
    assert isinstance(error, dict)
    return str(error["reason"])


def test_a_batch_is_done_in_order_as_its_caller(host: Host) -> None:
    reply = send(host, batch(SHOW, DELETE))
    assert host.done == [(SHOW, 1000), (DELETE, 1000)]
    assert reply == {
        "version": CATALOGUE_VERSION,
        "sudoers": "",
        "results": [{"name": f"bgr{ID}", "index": 0, "alias": ""}] * 2,
    }


def test_of_a_batch_with_a_refused_call_nothing_is_done(host: Host) -> None:
    assert reason(send(host, batch(SHOW, DELETE), caller=1001)) == "refused"
    assert host.done == []


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b" " * (main.MAX_REQUEST + 1),
        {},
        {"version": CATALOGUE_VERSION},
        {"version": CATALOGUE_VERSION, "calls": {}},
        {"version": CATALOGUE_VERSION, "calls": [1]},
        {"version": CATALOGUE_VERSION, "calls": [], "argv": ["sh"]},
        {"version": CATALOGUE_VERSION, "calls": [call_to_json(SHOW)] * 257},
    ],
)
def test_malformed_batches_are_refused(host: Host, request_: object) -> None:
    assert reason(send(host, request_)) == "malformed"
    assert host.done == []


@given(st.binary() | st.text().map(str.encode))
def test_any_request_gets_an_answer(data: bytes) -> None:
    with contextlib.suppress(CallFailed):
        main.read_batch(data)


@pytest.mark.parametrize("version", [CATALOGUE_VERSION - 1, CATALOGUE_VERSION + 1, "2", None])
def test_another_version_is_an_error_and_no_guess(host: Host, version: object) -> None:
    assert reason(send(host, batch(SHOW, version=version))) == "version"
    assert host.done == []


def test_it_works_for_nobody_without_sudo(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(send(host, batch(SHOW), caller=None)) == "refused"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert reason(send(host, batch(SHOW))) == "refused"
    assert host.done == []


def test_all_that_a_batch_needs_is_there_before_it_waits(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []

    @contextlib.contextmanager
    def alone(caller: int) -> Iterator[None]:
        done.append(caller)
        yield

    monkeypatch.setattr(execute, "load", lambda kinds: done.append([*kinds]))
    monkeypatch.setattr(main, "_alone", alone)
    send(host, batch(SHOW, DELETE))
    assert done == [[TapShow, TapDelete], 1000]


def test_it_refuses_to_work_where_others_could_change_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "unsafe_folder", lambda prefix: "it is a link")
    assert reason(send(host, batch(SHOW))) == "unsafe"
    assert host.done == []


def test_a_call_that_hangs_ends(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "DEADLINE", 1)
    before = signal.signal(signal.SIGALRM, main._too_late)
    try:
        reply = main.answer(
            io.BytesIO(json.dumps(batch(SHOW)).encode()).read,
            1000,
            Path("/nowhere"),
            lambda *_: time.sleep(20),  # type: ignore[arg-type]  # returns nothing, and never
        )
    finally:
        signal.signal(signal.SIGALRM, before)
    assert reply["error"] == {"reason": "failed", "text": "TapShow did not end within 1 s"}


@pytest.mark.parametrize(
    ("environ", "caller"),
    [
        ({}, os.getuid()),
        ({"SUDO_UID": "1000"}, 1000),
        ({"SUDO_UID": "-1"}, None),
        ({"SUDO_UID": "\u0661"}, None),
        ({"SUDO_UID": ""}, None),
        ({"SUDO_UID": "99999999999"}, None),
    ],
)
def test_the_caller_is_who_sudo_says(environ: dict[str, str], caller: int | None) -> None:
    assert main.caller_of(environ) == caller
