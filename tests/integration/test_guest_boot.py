"""Real guests under the real QEMU: our initrd, init, identity, profiles and agent, all in place."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec import structs

from banger.drivers.guest import agent_session
from banger.drivers.guest.base import GuestAgent, GuestCommand, Identity
from banger.drivers.guest.guest import LinuxGuest
from banger.drivers.vmm.base import BootSpec, NetworkDevice
from banger.drivers.vmm.qemu.driver import QemuVMM
from banger.errors import BangerError, VMMFailed
from banger.model.lifecycle import ExitReason
from banger.model.network import Lease
from banger.model.storage import Drive
from banger.model.vm import Machine
from banger.naming import new_id, process_name
from tests.requirements import needs

pytestmark = [needs("qemu", "qemu-img", "ssh", "image"), pytest.mark.slow]

#: Seconds for a boot of the slower profile on a host that is five times overloaded.
PATIENCE = 150.0
ALIAS = "banger-test"


@dataclass
class VM:
    """One VM of this test: its files, and how to boot it again and again."""

    qemu: QemuVMM
    image: Path
    folder: Path
    guest: LinuxGuest = field(default_factory=LinuxGuest)
    hostname: str = "calm-otter"
    port: int = 0
    work_disk: Path | None = None
    id: str = field(default_factory=new_id)

    def __post_init__(self) -> None:
        self.public = self.guest.new_host_key(self.folder / "host_key")
        self.own = self.guest.user_key(self.folder / "id")
        self.guest.write_known_hosts(self.folder / "known_hosts", {ALIAS: self.public})
        self.overlay = self.folder / "overlay.qcow2"
        base = self.image / "rootfs.ext4"
        backing = ("-b", str(base), "-F", "raw")
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(self.overlay)], check=True
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def mark(self) -> str:
        return process_name(os.geteuid(), self.id)

    def identity(self, profile: str) -> Identity:
        lease = Lease(
            kind="user",
            mac="02:00:00:00:00:01",
            address="10.0.2.15",
            prefix_length=24,
            gateway="10.0.2.2",
            tap="",
            ssh_host="127.0.0.1",
            ssh_port=self.port,
            nameservers=("10.0.2.3",),
        )
        return Identity(
            hostname=self.hostname,
            machine_id=hashlib.sha256(self.id.encode()).hexdigest()[:32],
            authorized_key=self.own,
            host_key=(self.folder / "host_key").read_text(),
            host_public_key=self.public,
            lease=lease,
            profile=profile,
            work_disk=self.work_disk is not None,
        )

    def spec(self, profile: str, *arguments: str) -> BootSpec:
        initrd = self.folder / "initrd.cpio"
        base = self.image / "initrd.cpio"
        self.guest.write_initrd(self.identity(profile), base, initrd)
        drives = [Drive("root", self.overlay, "qcow2", self.image / "rootfs.ext4")]
        if self.work_disk is not None:
            drives.append(Drive("work", self.work_disk, "raw"))
        return BootSpec(
            vm_id=self.id,
            process_name=self.mark,
            vcpus=2,
            memory_mib=512,
            kernel=self.image / "vmlinux",
            initrd=initrd,
            arguments=(*self.guest.kernel_arguments(profile), *arguments),
            drives=tuple(drives),
            network=NetworkDevice(mac="02:00:00:00:00:01", ssh_port=self.port),
            console_log=self.folder / "console.log",
            console_socket=self.folder / "c.sock",
            monitor_socket=self.folder / "m.sock",
            agent_socket=self.folder / "a.sock",
            events=self.folder / "events",
            log=self.folder / "log",
        )

    async def boot(self, profile: str, *arguments: str) -> Running:
        return await self.launch(self.spec(profile, *arguments))

    async def launch(self, spec: BootSpec) -> Running:
        spec.console_log.unlink(missing_ok=True)
        machine = await self.qemu.launch(spec)
        return Running(self, spec, machine, self.guest.connect(spec.agent_socket))


@dataclass
class Running:
    """One boot of a VM."""

    vm: VM
    spec: BootSpec
    machine: Machine
    agent: GuestAgent

    async def ready(self) -> None:
        """The agent answers and the SSH server greets."""
        await self.agent.ping(timeout=PATIENCE)
        assert await self.vm.guest.ssh_banner("127.0.0.1", self.vm.port, timeout=PATIENCE)

    def ssh_argv(self, *words: str) -> list[str]:
        prefix = self.vm.guest.ssh_command(
            host="127.0.0.1",
            port=self.vm.port,
            user="root",
            key=self.vm.folder / "id",
            known_hosts=self.vm.folder / "known_hosts",
            host_key_alias=ALIAS,
        )
        return [*prefix, *words]

    async def ssh(self, script: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *self.ssh_argv(script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        async with asyncio.timeout(PATIENCE):
            out, _ = await process.communicate()
        assert process.returncode == 0, (script, process.returncode, out)
        return out.decode().strip()

    async def run(self, script: str, stdin: bytes = b"") -> str:
        """A shell script through the agent; its output."""
        status, out = await self.status_of(script, stdin)
        assert status == 0, (script, status, out)
        return out.decode().strip()

    async def status_of(self, script: str, stdin: bytes = b"") -> tuple[int, bytes]:
        async with asyncio.timeout(PATIENCE):
            process = await self.agent.execute(GuestCommand(("sh", "-c", script)))
            feeding = asyncio.create_task(self._feed(process, stdin))
            out = b"".join([chunk.data async for chunk in process.output()])
            await feeding
            return await process.status(), out

    @staticmethod
    async def _feed(process: object, data: bytes) -> None:
        await process.write(data)  # type: ignore[attr-defined] # a GuestProcess
        if data:
            await process.write(b"")  # type: ignore[attr-defined] # a GuestProcess

    async def settled(self) -> str:
        """systemd's verdict once every start job has ended, and the units that failed."""
        async with asyncio.timeout(PATIENCE):
            # The fast profile runs commands before it runs systemd.
            while (await self.agent.ping(timeout=PATIENCE))["systemd"] == "starting":  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.1)
        verdict = "systemctl is-system-running --wait; systemctl --failed --no-legend --plain"
        return (await self.status_of(verdict))[1].decode().strip()

    async def end_by(self, script: str) -> ExitReason:
        """How the VM ends after a script that ends it."""
        with contextlib.suppress(VMMFailed):  # the agent may end before the script does
            await self.status_of(script)
        return await self.ended()

    async def ended(self) -> ExitReason:
        await self.agent.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.vm.qemu.wait(self.machine)
        except TimeoutError:
            pytest.fail(f"the VM runs still; its console:\n{self.console()[-4000:]}")
        spec = self.spec
        return self.vm.qemu.exit_of(spec.events, spec.console_log, spec.log).reason

    def console(self) -> str:
        return self.spec.console_log.read_text(errors="replace").replace("\r", "")


@pytest.fixture
async def vm(built_image: Path, tmp_path: Path) -> AsyncIterator[VM]:
    made = VM(await QemuVMM.on_this_host("tcg"), built_image, tmp_path)
    yield made
    machine = made.qemu.find(made.mark)
    if machine is not None:
        await made.qemu.kill(machine, made.mark)


def make_work_disk(path: Path) -> Path:
    with path.open("xb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-F", path], check=True)
    return path


async def test_the_fast_profile_is_whole(vm: VM, tmp_path: Path) -> None:
    vm.work_disk = make_work_disk(tmp_path / "work.raw")
    guest = await vm.boot("fast")
    await guest.ready()
    # A session from before systemd must survive its start.
    early = asyncio.create_task(guest.ssh("cat /proc/1/comm; sleep 20; echo survived"))
    assert await guest.settled() == "running"
    assert (await early).endswith("survived")

    assert await guest.ssh("hostname; cat /etc/machine-id") == "\n".join(
        ["calm-otter", vm.identity("fast").machine_id]
    )
    assert await guest.run("getent hosts calm-otter; grep nameserver /etc/resolv.conf") == (
        "127.0.1.1       calm-otter\nnameserver 10.0.2.3"
    )
    assert await guest.run("stat -f -c %T / /run /tmp /dev/shm /work") == (
        "ext2/ext3\ntmpfs\ntmpfs\ntmpfs\next2/ext3"
    )
    assert await guest.run("ip -4 -o addr show eth0 | awk '{print $4}'; ip route | head -1") == (
        "10.0.2.15/24\ndefault via 10.0.2.2 dev eth0"
    )
    # systemd has adopted what init had started, and can restart it.
    units = "ssh.service banger-agent.service serial-getty@ttyS0.service"
    assert await guest.ssh(f"systemctl is-active {units} | sort -u") == "active"
    assert await guest.ssh("systemctl restart ssh && systemctl is-active ssh") == "active"
    await guest.run(
        "printf '[Service]\\nExecStart=/bin/sleep 1000\\n' >/etc/systemd/system/demo.service;"
        "systemctl daemon-reload; systemctl start demo; systemctl is-active demo"
    )
    assert "demo" in await guest.run("journalctl --no-pager -u demo")
    assert await guest.run("sudo -u nobody id -un; sudo id -un") == "nobody\nroot"
    # Ordinary users are not shut out.
    assert await guest.run("test ! -e /run/nologin && echo open; stat -c %a /dev/fuse") == (
        "open\n666"
    )

    # What the user changes is kept, however often banger writes its own lines again.
    await guest.run(
        "echo 'ssh-ed25519 AAAAuser mine' >>/root/.ssh/authorized_keys;"
        "echo '10.9.9.9 database' >>/etc/hosts;"
        "printf '/dev/vdb /home ext4 defaults 0 2\\n/dev/vdc /var ext4 defaults 0 2\\n' "
        ">>/etc/fstab; printf '#!/bin/sh\necho ran >/run/user-script\n' >/etc/rc.local;"
        "chmod 755 /etc/rc.local; cd /root && echo kept >file; cd /work && echo kept >file; sync"
    )
    assert await guest.end_by("reboot") is ExitReason.GUEST_REBOOT

    vm.hostname = "new-name"
    guest = await vm.boot("fast")
    await guest.ready()
    assert await guest.settled() == "running"
    assert await guest.run("cat file; cd /work && cat file; hostname") == "kept\nkept\nnew-name"
    # The generator that reads this script is left out only while there is none.
    assert await guest.run("cat /run/user-script") == "ran"
    assert await guest.run("getent hosts database new-name | awk '{print $1}'") == (
        "10.9.9.9\n127.0.1.1"
    )
    keys = await guest.run("cat /root/.ssh/authorized_keys; stat -c %a /root/.ssh/authorized_keys")
    assert keys.splitlines()[1:] == [vm.own, "ssh-ed25519 AAAAuser mine", "600"]
    assert "calm-otter" not in await guest.run("cat /etc/hosts")
    await guest.agent.shutdown(timeout=PATIENCE)
    assert await guest.ended() is ExitReason.GUEST_SHUTDOWN


async def test_the_standard_profile_is_whole(vm: VM) -> None:
    guest = await vm.boot("standard")
    await guest.ready()
    assert await guest.settled() == "running"
    assert await guest.ssh("systemctl is-active systemd-udevd systemd-logind ssh | sort -u") == (
        "active"
    )
    assert "eth0" in await guest.ssh("ls /sys/class/net")
    assert await guest.ssh("loginctl list-seats --no-legend") == "seat0"
    assert await guest.end_by("poweroff") is ExitReason.GUEST_SHUTDOWN


async def test_the_agent_under_load_and_after_a_lost_host(vm: VM) -> None:
    guest = await vm.boot("fast")
    await guest.ready()
    assert await guest.settled() == "running"
    data = os.urandom(20 << 20)
    loop = asyncio.get_running_loop()
    start = loop.time()
    digest = await guest.run("sha256sum | cut -d' ' -f1", data)
    up = loop.time() - start
    assert digest == hashlib.sha256(data).hexdigest()
    start = loop.time()
    _, zeros = await guest.status_of("head -c 20971520 /dev/zero")
    down = loop.time() - start
    assert zeros == bytes(20 << 20)
    print(f"20 MiB up {20 / up:.1f} MiB/s, down {20 / down:.1f} MiB/s")

    # A host that goes away in the middle of everything leaves nothing running.
    orphan = await guest.agent.execute(GuestCommand(("sh", "-c", "echo $$; exec sleep 1000")))
    pid = (await anext(aiter(orphan.output()))).data.decode().strip()
    filling = await guest.agent.execute(GuestCommand(("sh", "-c", "sleep 1; cat >/dev/null")))
    writing = asyncio.create_task(filling.write(bytes(1 << 20)))
    await asyncio.sleep(0.2)
    await guest.agent.close()
    await asyncio.gather(writing, return_exceptions=True)
    assert (await guest.agent.ping(timeout=PATIENCE))["commands"] == 0
    assert await guest.run(f"sleep 0.2; test -e /proc/{pid} || echo gone") == "gone"

    # With nobody connected the agent sleeps: utime + stime over two seconds, in ticks of 10 ms.
    await guest.agent.close()
    ticks = "awk '{print $14 + $15}' /proc/$(cat /run/banger/agent.pid)/stat"
    first, last = (await guest.ssh(f"{ticks}; sleep 2; {ticks}")).split()
    assert int(last) - int(first) <= 2
    assert (await guest.agent.ping(timeout=PATIENCE))["agent"] == 1


async def test_an_agent_that_is_left_and_one_that_is_killed(
    vm: VM, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A hello that is lost, and not asked for again, fails the test.
    monkeypatch.setattr(agent_session, "HELLO_PAUSE", 2 * PATIENCE)
    guest = await vm.boot("fast")
    await guest.ready()
    assert await guest.settled() == "running"
    for number in range(60):
        await guest.agent.close()
        assert await guest.run(f"echo {number}") == str(number)

    for kill in ("kill -9 $(cat /run/banger/agent.pid)", "systemctl restart banger-agent"):
        process = await guest.agent.execute(GuestCommand(("sleep", "1000")))
        await guest.ssh(kill)
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(VMMFailed, match="cannot be reached"):
                await process.status()
        assert await guest.run("echo back") == "back"


async def test_switched_off_before_systemd_runs(vm: VM) -> None:
    guest = await vm.boot("fast")
    await guest.agent.ping(timeout=PATIENCE)
    await guest.agent.shutdown(timeout=PATIENCE)
    assert await guest.ended() is ExitReason.GUEST_SHUTDOWN, guest.console()


async def test_another_init_and_no_python(vm: VM) -> None:
    guest = await vm.boot("fast", "init=/bin/sh")
    await guest.ready()
    assert (await guest.agent.ping(timeout=PATIENCE))["systemd"] == "none"
    assert await guest.run("cat /proc/1/comm; hostname") == "sh\ncalm-otter"
    await guest.run("chmod a-x $(readlink -f /usr/bin/python3); sync")
    await guest.agent.shutdown(timeout=PATIENCE)
    assert await guest.ended() is ExitReason.GUEST_SHUTDOWN

    guest = await vm.boot("fast")
    assert await vm.guest.ssh_banner("127.0.0.1", vm.port, timeout=PATIENCE)
    wait = "until [ -S /run/systemd/private ]; do sleep 0.1; done"
    assert await guest.ssh(f"{wait}; systemctl is-system-running --wait") == "running"
    with pytest.raises(BangerError):
        await guest.agent.ping(timeout=0.5)


async def test_a_root_that_cannot_be_had_is_told_on_the_console(vm: VM) -> None:
    guest = await vm.launch(structs.replace(vm.spec("fast"), drives=()))
    assert await guest.ended() is ExitReason.GUEST_SHUTDOWN
    lines = [line for line in guest.console().splitlines() if line.startswith("banger:")]
    assert len(lines) == 3
    assert "root disk /dev/vda did not appear" in lines[0]

    vm.overlay.unlink()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", vm.overlay, "1M"], check=True)
    guest = await vm.boot("fast")
    assert await guest.ended() is ExitReason.GUEST_SHUTDOWN
    assert "banger: the root disk /dev/vda cannot be mounted" in guest.console()
