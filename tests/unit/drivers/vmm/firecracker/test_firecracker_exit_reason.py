"""Why a Firecracker ended, told from its notes, its log and the console."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.drivers.vmm.firecracker import exit_reason
from banger.drivers.vmm.firecracker.exit_reason import POWER_OFF_MARK, note
from banger.model.lifecycle import ExitReason

START = note(console_bytes=12).decode()
ENDED = (
    "2026-01-01T10:00:00.1 [vm:main] Running Firecracker v1.12.1\n"
    "2026-01-01T10:00:00.2 [vm:main] Artificially kick devices.\n"
    "2026-01-01T10:00:01.0 [vm:main] Vmm is stopping.\n"
    "2026-01-01T10:00:01.1 [vm:main] Firecracker exiting successfully. exit_code=0\n"
)
DIED = (
    "2026-01-01T10:00:00.1 [vm:main] Running Firecracker v1.12.1\n"
    '2026-01-01T10:00:00.2 [vm:fc_api] The API server received a Get request on "/".\n'
    "2026-01-01T10:00:01.0 [vm:fc_vcpu 0] Error running the vcpu\n"
    "2026-01-01T10:00:01.1 [vm:main] Firecracker exiting with error. exit_code=1\n"
)
PANIC = "[ 1.0] x\n[ 2.0] Kernel panic - not syncing: VFS\n[ 2.1] Call Trace:\n"


@pytest.mark.parametrize(
    ("events", "console", "log", "reason"),
    [
        (START, "[ 9.1] reboot: Restarting system\n", ENDED, ExitReason.GUEST_REBOOT),
        (START, f"{POWER_OFF_MARK}\n[ 9.1] reboot: Restarting\n", ENDED, ExitReason.GUEST_SHUTDOWN),
        (START, "[ 9.1] reboot: Power down\n", ENDED, ExitReason.GUEST_SHUTDOWN),
        (START, PANIC, ENDED, ExitReason.GUEST_PANIC),
        (START + note(ended="stopped").decode(), PANIC, "", ExitReason.STOPPED),
        (START + note(ended="halted").decode(), "", "", ExitReason.GUEST_SHUTDOWN),
        (START, "", DIED, ExitReason.VMM_DIED),
        ("", "", "", ExitReason.VMM_DIED),
        ("[1]\nnull\n{broken", "\x00", "\x00", ExitReason.VMM_DIED),
    ],
)
def test_reasons(events: str, console: str, log: str, reason: ExitReason) -> None:
    assert exit_reason.exit_reason(events, console, log).reason is reason


def test_the_detail_of_a_panic_begins_at_its_line() -> None:
    detail = exit_reason.exit_reason(START, PANIC, ENDED).detail
    assert detail.splitlines() == ["[ 2.0] Kernel panic - not syncing: VFS", "[ 2.1] Call Trace:"]


def test_the_detail_of_a_death_leaves_the_routine_out() -> None:
    detail = exit_reason.exit_reason(START, "", DIED).detail
    assert "vcpu" in detail
    assert "API server" not in detail
    assert exit_reason.said(DIED) == "Firecracker exiting with error. exit_code=1"


def test_where_the_console_began() -> None:
    assert exit_reason.console_start(START) == 12
    for odd in ("", "[]", '{"banger": 1}', '{"banger": {"console_bytes": "x"}}', "{"):
        assert exit_reason.console_start(odd) == 0


@pytest.mark.parametrize(
    ("console", "halted"),
    [
        ("[   12.3] reboot: System halted\r\n", True),
        ("[   12.3] reboot: Power down\n", True),
        # As Debian's kernel 6.12 said on Firecracker in the lab.
        ("[   11.8] reboot: Power off not available: System halted instead\r\n", True),
        ("[   12.3] reboot: System halted\nroot@vm:~# ", False),
        ("[   12.3] reboot: Restarting system\n", False),
        ("", False),
    ],
)
def test_a_guest_that_halted(console: str, *, halted: bool) -> None:
    assert exit_reason.says_halted(console) is halted


@given(st.text(), st.text(), st.text())
def test_no_text_is_too_odd(events: str, console: str, log: str) -> None:
    exit_reason.exit_reason(events, console, log)
