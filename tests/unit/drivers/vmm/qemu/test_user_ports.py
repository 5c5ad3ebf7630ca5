"""Ports of the user-mode network, changed through a monitor that is scripted."""

from __future__ import annotations

from typing import Any

import pytest

from banger.drivers.vmm.qemu import user_ports
from banger.errors import Conflict
from banger.model.network import Forward

WEB, DNS = Forward("tcp", 8080, 80), Forward("udp", 5353, 53)


class Monitor:
    """Notes the lines, and answers each addition with ``answer``."""

    def __init__(self, answer: str = "") -> None:
        self.lines: list[str] = []
        self.answer = answer

    async def human(self, line: str) -> str:
        self.lines.append(line)
        return self.answer if line.startswith("hostfwd_add") else "not found"


async def publish(monitor: Any, before: tuple[Forward, ...], after: tuple[Forward, ...]) -> None:
    await user_ports.publish(monitor, before, after)


async def test_only_what_differs_is_changed() -> None:
    monitor = Monitor()
    await publish(monitor, (WEB,), (WEB, DNS))
    assert monitor.lines == [
        "hostfwd_remove net udp:0.0.0.0:5353",
        "hostfwd_add net udp:0.0.0.0:5353-:53",
    ]
    monitor.lines.clear()
    await publish(monitor, (WEB, DNS), (DNS,))
    assert monitor.lines == ["hostfwd_remove net tcp:0.0.0.0:8080"]


async def test_a_port_that_is_taken_is_told() -> None:
    with pytest.raises(Conflict) as caught:
        await publish(Monitor("Could not set up host forwarding rule"), (), (WEB,))
    assert "Could not set up" in caught.value.cause
