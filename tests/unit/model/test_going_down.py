from __future__ import annotations

import pytest

from banger.model.going_down import line_takes_guest_down, takes_guest_down


@pytest.mark.parametrize(
    "argv",
    [
        ("poweroff",),
        ("/sbin/reboot", "-f"),
        ("shutdown", "-h", "now"),
        ("systemctl", "--no-block", "poweroff"),
        ("busybox", "halt"),
        ("sudo", "systemctl", "reboot"),
        ("sh", "-c", "sync; poweroff"),
        ("bash", "-ec", "sleep 1 && exec /sbin/reboot"),
        ("sh", "-c", "poweroff &"),
    ],
)
def test_commands_that_take_a_guest_down(argv: tuple[str, ...]) -> None:
    assert takes_guest_down(argv)


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("echo", "poweroff"),
        ("systemctl", "status", "poweroff.target"),
        ("systemctl", "start", "halt"),
        ("systemctl",),
        ("sh", "-c", "poweroff; make"),
        ("sh", "-c", "echo 'unended"),
        ("sh", "-c", ""),
        ("sh", "poweroff"),
        ("apt-get", "install", "-y", "reboot"),
    ],
)
def test_other_commands(argv: tuple[str, ...]) -> None:
    assert not takes_guest_down(argv)


def test_a_line_of_a_shell() -> None:
    assert line_takes_guest_down("df -h; poweroff")
    assert not line_takes_guest_down("poweroff --help | less")
