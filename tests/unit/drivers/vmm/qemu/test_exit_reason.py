"""Why a QEMU ended, read from what it left."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.drivers.vmm.base import VMMExit
from banger.drivers.vmm.qemu.exit_reason import (
    boot_note,
    console_start,
    exit_reason,
    has_run,
    said_by_qemu,
)
from banger.model.lifecycle import ExitReason

KEYS = ["event", "data", "reason", "guest", "banger", "console_bytes", "SHUTDOWN"]
PANIC = "[  1.2] foo\n[  1.3] Kernel panic - not syncing: no init\n[  1.4] CPU: 0\n"


def shutdown(reason: str, *, guest: bool) -> str:
    event = {"event": "SHUTDOWN", "data": {"guest": guest, "reason": reason}}
    return boot_note(0).decode() + '{"return": {}}\n' + json.dumps(event) + "\n"


@pytest.mark.parametrize(
    ("reason", "guest", "console", "expected"),
    [
        ("guest-shutdown", True, PANIC, ExitReason.GUEST_SHUTDOWN),
        ("guest-reset", True, "bye\n", ExitReason.GUEST_REBOOT),
        ("guest-reset", True, PANIC, ExitReason.GUEST_PANIC),
        ("guest-panic", True, "", ExitReason.GUEST_PANIC),
        ("something-new", True, "", ExitReason.GUEST_SHUTDOWN),
        ("host-qmp-quit", False, PANIC, ExitReason.STOPPED),
        ("host-signal", False, "", ExitReason.KILLED),
        ("host-error", False, "", ExitReason.VMM_DIED),
        ("something-new", False, "", ExitReason.VMM_DIED),
    ],
)
def test_each_cause_has_its_reason(
    reason: str, guest: bool, console: str, expected: ExitReason
) -> None:
    assert exit_reason(shutdown(reason, guest=guest), console, "").reason is expected


def test_a_panic_is_shown_from_its_first_line_on() -> None:
    ended = exit_reason(shutdown("guest-reset", guest=True), PANIC, "")
    assert ended.detail == "[  1.3] Kernel panic - not syncing: no init\n[  1.4] CPU: 0"


def test_a_panic_event_counts_without_a_console() -> None:
    events = '{"event": "GUEST_PANICKED", "data": {"action": "shutdown"}}'
    assert exit_reason(events, "", "").reason is ExitReason.GUEST_PANIC


def test_without_a_word_it_died_and_its_log_is_shown() -> None:
    ended = exit_reason('{"event": "RESUME"}', "", "some\x1b[31m red\x07 complaint\r\n")
    assert ended == VMMExit(ExitReason.VMM_DIED, "some red complaint")


def test_terminal_sequences_of_the_guest_are_not_passed_on() -> None:
    console = "\x1b]0;title\x07\x1b[2JKernel panic - not syncing: \x9b31mred\x00\n"
    detail = exit_reason(shutdown("guest-reset", guest=True), console, "").detail
    assert detail.isprintable()


@given(st.text(), st.text(), st.text())
def test_any_text_is_taken(events: str, console: str, log: str) -> None:
    ended = exit_reason(events, console, log)
    assert isinstance(ended.reason, ExitReason)
    assert len(ended.detail) <= 2000
    said_by_qemu(log)
    console_start(events)
    has_run(events)


JSON_VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), JSON_VALUES)), st.text())
def test_any_json_is_taken(messages: list[object], console: str) -> None:
    events = "\n".join(json.dumps(message) for message in messages)
    assert isinstance(exit_reason(events, console, "").reason, ExitReason)
    assert console_start(events) >= 0
    has_run(events)


def test_deep_and_huge_json_is_skipped() -> None:
    events = "[" * 100_000 + "\n" + "1" * 100_000 + "\n" + shutdown("guest-shutdown", guest=True)
    assert exit_reason(events, "", "").reason is ExitReason.GUEST_SHUTDOWN


@given(st.integers(0, 2**50))
def test_the_note_of_a_boot_is_read_back(offset: int) -> None:
    assert console_start(boot_note(offset).decode() + '{"event": "RESUME"}\n') == offset


def test_a_guest_has_run_once_it_was_resumed() -> None:
    assert not has_run('{"QMP": {}}\n{"return": {}}\n')
    assert has_run('{"return": {}}\n{"event": "RESUME"}\n')


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", ""),
        ("2026-01-01T00:00:00.1Z qemu-system-x86_64: could not open x\n", "could not open x"),
        (
            'qemu-system-x86_64: -blockdev {"a": 1}: Failed to get "write" lock\nIs another?\n',
            '-blockdev {"a": 1}: Failed to get "write" lock',
        ),
        (
            "qemu: could not load kernel\nqemu-system-x86_64: warning: whatever\n",
            "qemu: could not load kernel",
        ),
    ],
)
def test_the_complaint_is_found_in_the_log(log: str, said: str) -> None:
    assert said_by_qemu(log) == said
