from __future__ import annotations

from pathlib import Path

import pytest

from banger.drivers.vmm.base import BootSpec, NetworkDevice
from banger.drivers.vmm.firecracker import bodies, jailed
from banger.drivers.vmm.firecracker.version import Version
from banger.errors import HostNotReady
from banger.model.storage import Drive
from banger.model.vm import Machine
from banger.privileged import jail_calls
from banger.privileged.checks import check


@pytest.fixture
def spec(tmp_path: Path) -> BootSpec:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    state = tmp_path / "link"
    return BootSpec(
        vm_id="0123456789ab",
        process_name="banger-1000-0123456789ab",
        vcpus=2,
        memory_mib=512,
        kernel=state / "kernel",
        initrd=state / "initrd",
        arguments=(),
        drives=(
            Drive("root", state / "layer", "raw"),
            Drive("base", state / "base", "raw", read_only=True),
        ),
        network=NetworkDevice(mac="02:00:00:00:00:01", tap="bgr0123456789ab"),
        console_log=state / "console.log",
        console_socket=state / "console.sock",
        monitor_socket=state / "monitor.sock",
        agent_socket=state / "agent.sock",
        events=state / "events.jsonl",
        log=state / "vmm.log",
        jail=True,
    )


def test_the_call_says_all_and_names_no_link(spec: BootSpec, tmp_path: Path) -> None:
    call = jailed.start_call(spec, 1000, jailed.Programs(Path("/p/firecracker"), Path("/p/jailer")))
    check(call, 1000)
    real = f"{tmp_path}/real"
    assert (call.name, call.alias) == ("bgr0123456789ab", "banger:1000:0123456789ab")
    assert (call.vcpus, call.memory_mib, call.tap) == (2, 512, True)
    assert call.drives == (f"rw:root:{real}/layer", f"ro:base:{real}/base")
    assert (call.kernel, call.initrd) == (f"{real}/kernel", f"{real}/initrd")
    assert call.metrics == f"{real}/events.metrics"
    assert call.errors == f"{real}/firecracker/stderr"


def test_the_vsock_is_left_to_the_root_side(spec: BootSpec) -> None:
    made = bodies.requests(spec, Version(1, 12, 1))
    left = jailed.requests(made)
    assert [request.path for request in made if request not in left] == ["/vsock"]


def test_without_a_jailer_there_is_no_jail(tmp_path: Path) -> None:
    for jailer in (None, tmp_path / "absent"):
        with pytest.raises(HostNotReady, match="cannot run in a jail"):
            jailed.programs(tmp_path / "firecracker", jailer)


def test_a_jail_that_is_gone_is_no_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jail_calls, "JAILS", tmp_path)
    mark = "banger-1000-0123456789ab"
    machine = Machine(1, 1, f"{tmp_path}/{mark}/firecracker", "boot", "kvm", "1.12.1")
    assert jailed.is_jailed(machine)
    assert jailed.mark_of(machine) == mark
    assert not jailed.is_same(machine, mark)
    assert jailed.find(mark, "") is None
    assert jailed.runtime_of(machine) is None
