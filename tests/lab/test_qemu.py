"""QEMU on nested KVM, with a root drive of device-mapper, as an ordinary user has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import qemu_files
from tests.lab.session import Session
from tests.plugins.lab import LabHome
from tests.requirements import needs

pytestmark = needs("lab")


@pytest.fixture(scope="module")
def lab() -> Iterator[Session]:
    """With this machine's QEMU in it."""
    with Session(more=qemu_files.given()) as session:
        session.shell(qemu_files.INSTALL)
        session.shell("banger setup --user dev", timeout=120)
        yield session


def test_qemu_on_a_device_keeps_what_it_writes(lab: Session) -> None:
    banger = LabHome(lab, "/home/dev/h", user="dev")
    banger.environment["BANGER_VMM"] = "qemu"

    def show() -> dict[str, Any]:
        found: dict[str, Any] = banger.json("show", "web")
        return found

    def used() -> int:
        status = lab.shell(f"dmsetup status banger-1000-{show()['id']}")
        return int(status.split()[3].split("/")[0]) * 512

    banger.ok("run", "--name", "web", "--vcpu", "1", "--memory", "256M")
    vm = show()
    assert (vm["vmm"], vm["accelerator"], vm["storage"]) == ("qemu", "kvm", "dm_snapshot")
    before = used()
    write = "echo kept >/root/note; dd if=/dev/urandom of=/root/big bs=1M count=8 conv=fsync"
    banger.ok("exec", "web", "--", "sh", "-c", write)
    assert used() - before >= 8 << 20
    lab.shell(f"kill -KILL {banger.json('daemon', 'status')['pid']}")
    assert show()["pid"] == vm["pid"]
    banger.ok("stop", "web")
    assert lab.shell("dmsetup ls; losetup --list --noheadings") == "No devices found\n"
    banger.ok("start", "web")
    assert banger.ok("exec", "web", "--", "cat", "/root/note") == "kept\n"
    banger.ok("rm", "--force", "web")
    left = lab.shell("dmsetup ls; losetup --list --noheadings; pgrep qemu || true")
    assert left == "No devices found\n"
