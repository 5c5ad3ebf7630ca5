"""What each command costs when nothing has to boot: list, help, completion."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from banger.model.lifecycle import VMState
from banger.model.network import Lease
from banger.model.vm import DEFAULT_OVERLAY_BYTES, VM, VMSpec
from banger.naming import mac_address, new_id
from banger.store.database import open_database
from banger.store.vms import VMs
from bench.measure import Goal, command, interleaved, report
from tests.plugins.home import Home, program


def fill(home: Home, count: int) -> None:
    """Put ``count`` stopped VMs into the state of a home, through the store."""
    home.paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    database, _ = open_database(home.paths.database)
    vms = VMs(database)
    with database.transaction():
        for index in range(count):
            vms.insert(_vm(index))
    database.close()


def _vm(index: int) -> VM:
    vm_id = new_id()
    address = f"127.1.{index // 250}.{index % 250 + 1}"
    return VM(
        id=vm_id,
        name=f"vm-{index:04}",
        spec=VMSpec(
            vcpus=2,
            memory_mib=1024,
            overlay_bytes=DEFAULT_OVERLAY_BYTES,
            work_disk_bytes=0,
            image_id="0" * 12,
            image_name="debian",
            rootfs="",
            kernel="",
            initrd="",
            vmm="qemu",
            storage="qcow2",
            network="user",
            profile="fast",
        ),
        state=VMState.STOPPED,
        lease=Lease(
            kind="user",
            mac=mac_address(vm_id),
            address=address,
            prefix_length=24,
            gateway="127.1.0.1",
            tap="",
            ssh_host="127.0.0.1",
            ssh_port=20000 + index,
        ),
        created_at=1_700_000_000.0 + index,
    )


def run(rounds: int) -> list[str]:
    """``vm list`` with few and many VMs, ``--help`` and completion, beside a bare Python."""
    few, many = (Home(Path(tempfile.mkdtemp(prefix="bgr-"))) for _ in range(2))
    try:
        fill(few, 10)
        fill(many, 1000)
        for home, count in ((few, 10), (many, 1000)):
            lines = home.ok("vm", "list").splitlines()
            if len(lines) < count:
                raise SystemExit(f"vm list shows {len(lines)} lines of {count} VMs")
        argv = program()
        complete = {
            "_BANGER_COMPLETE": "bash_complete",
            "COMP_WORDS": "banger show vm-00",
            "COMP_CWORD": "2",
        }
        python = [sys.executable, "-c", "pass"]
        samples = interleaved(
            {
                "python -c pass": lambda: command(python, few.environment),
                "banger --help": lambda: command([*argv, "--help"], few.environment),
                "completion of a name": lambda: command(argv, many.environment | complete),
                "vm list, 10 VMs": lambda: command([*argv, "vm", "list"], few.environment),
                "vm list, 1000 VMs": lambda: command([*argv, "vm", "list"], many.environment),
            },
            rounds,
        )
    finally:
        few.clear()
        many.clear()
    goals = {
        "banger --help": Goal(60),
        "completion of a name": Goal(75),
        "vm list, 10 VMs": Goal(60),
        "vm list, 1000 VMs": Goal(80),
    }
    return report("commands", samples, goals)
