"""Logs stay bounded while somebody writes to them, and their ends are safe to show."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.drivers.vmm import console_log

LINES = b"".join(b"%07d\n" % n for n in range(20_000))


@pytest.fixture(params=["collapse", "rewrite"])
def log(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param == "rewrite":
        monkeypatch.setattr(console_log, "_collapse", lambda descriptor, length: False)
    path = tmp_path / "console.log"
    path.write_bytes(LINES)
    return path


def test_the_older_part_goes_and_the_writer_goes_on(log: Path) -> None:
    writer = os.open(log, os.O_WRONLY | os.O_APPEND)
    removed = console_log.bound(log, limit=100_000, keep=50_000)
    os.write(writer, b"after\n")
    os.close(writer)
    left = log.read_bytes()
    assert 50_000 <= len(left) <= 50_000 + 8192
    assert removed == len(LINES) - len(left) + len(b"after\n")
    assert left == LINES[removed:] + b"after\n"


def test_a_short_log_is_not_touched(log: Path) -> None:
    assert console_log.bound(log, limit=len(LINES)) == 0
    assert log.read_bytes() == LINES


def test_an_absent_log_is_no_error(tmp_path: Path) -> None:
    assert console_log.bound(tmp_path / "none") == 0
    assert console_log.read_tail(tmp_path / "none", 10) == ""


@pytest.mark.parametrize(
    ("limit", "start", "expected"),
    [(100, 0, "0123456789"), (4, 0, "6789"), (100, 7, "789"), (2, 7, "89"), (3, 99, "789")],
)
def test_the_tail_begins_behind_the_start(
    tmp_path: Path, limit: int, start: int, expected: str
) -> None:
    path = tmp_path / "log"
    path.write_text("0123456789")
    assert console_log.read_tail(path, limit, start) == expected


def test_what_is_shown_cannot_command_a_terminal() -> None:
    text = "a\x1b[1;31mb\x1b]0;title\x07c\x1b]8;;url\x1b\\d\x1bce\x9b2Jf\r\n\tg\x00\x7f"
    assert console_log.plain(text) == "abcde2Jf\n\tg"


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    plain = console_log.plain(text)
    assert not any((c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f" for c in plain)
    assert console_log.plain(plain) == plain
