"""Leaked objects on the real kernel are told from those in use, and only they are removed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from banger import naming
from banger.drivers.network.tap import Tap
from banger.host import process, prune
from banger.host.orphans import Census, HostObject, Verdict
from banger.host.privilege import Privilege
from banger.model.network import Lease
from banger.paths import Paths
from banger.privileged import execute, jail_calls, netlink, tap_marks
from banger.privileged.calls import Call, TapFacts
from banger.privileged.jail_calls import JailRecord
from tests.requirements import needs

pytestmark = needs("root", "tap", "nft")
#: A user of the test's own, who has nothing else on this machine.
UID = 65_000 + os.getpid() % 500


class AsUser(Privilege):
    """The root side as that user has it."""

    async def call(self, batch: Sequence[Call]) -> list[TapFacts]:
        return execute.perform(batch, UID)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths.from_environment(
        {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}, UID
    )
    made.vms.mkdir(parents=True)
    return made


@pytest.fixture
async def attached() -> AsyncIterator[list[tuple[str, Lease]]]:
    """Interfaces with rules of two VMs: what a lost VM leaves, and what one in use has."""
    network = Tap(AsUser(), "10.208.0.0/12", UID, ())
    made = []
    for _ in range(2):
        vm_id = naming.new_id()
        lease = next(network.candidates(vm_id))
        await network.attach(lease, vm_id)
        made.append((vm_id, lease))
    yield made
    for vm_id, lease in made:
        await network.detach(lease, vm_id)


def sleeper(vm_id: str, stdout: int) -> subprocess.Popen[bytes]:
    """A process with the mark of a VMM."""
    script = "import time; time.sleep(60)"
    argv = [sys.executable, "-c", script, naming.process_name(UID, vm_id)]
    return marked(subprocess.Popen(argv, stdout=stdout))


def marked(started: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """The same when its arguments can be seen: the kernel shows them a moment after the start."""
    deadline = time.monotonic() + 10
    while not process.argv_of(started.pid):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return started


async def census(paths: Paths) -> dict[tuple[str, str], HostObject]:
    found = await Census(paths, UID).take(AsUser())
    return {(each.kind, each.vm_id): each for each in found}


async def test_only_what_is_ours_and_leaked_goes(
    paths: Paths, attached: list[tuple[str, Lease]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (lost, lease), (used, other) = attached
    paths.vm(used).mkdir()
    paths.vm_runtime(lost).mkdir(parents=True)
    foreign = f"bgr{naming.new_id()}"
    subprocess.run(["ip", "tuntap", "add", "dev", foreign, "mode", "tap"], check=True)
    elsewhere, gone = naming.new_id(), naming.new_id()
    paths.vm(gone).mkdir()
    log = paths.vm(gone) / "console.log"
    with log.open("wb") as file:
        # A VMM of a VM whose folder was removed under it, and one of another state folder.
        orphan = sleeper(gone, file.fileno())
    log.unlink()
    paths.vm(gone).rmdir()
    stranger = sleeper(elsewhere, subprocess.DEVNULL)
    try:
        found = await census(paths)
        assert found["interface", lost].verdict is Verdict.LEAKED
        assert found["rules", lost].verdict is Verdict.LEAKED
        assert found["sockets", lost].verdict is Verdict.LEAKED
        assert found["interface", used].verdict is Verdict.OURS
        assert found["interface", foreign.removeprefix("bgr")].verdict is Verdict.FOREIGN
        assert found["process", gone].verdict is Verdict.LEAKED
        assert found["process", elsewhere].verdict is Verdict.FOREIGN
        outcome = await prune._remove(list(found.values()), paths, UID, AsUser())
        assert not [problem for _, problem in outcome if problem]
        assert orphan.poll() is not None
        assert stranger.poll() is None
        assert not tap_marks.facts(lease.tap).index
        assert tap_marks.facts(other.tap).index
        assert tap_marks.facts(foreign).index
        assert not paths.vm_runtime(lost).exists()
        left = await census(paths)
        assert Verdict.LEAKED not in {each.verdict for each in left.values()}
        assert found["rules", used] == left["rules", used]
    finally:
        for started in (orphan, stranger):
            started.kill()
            started.wait()
        netlink.delete_link(tap_marks.facts(foreign).index)


@pytest.fixture
def jailed(paths: Paths) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A jailed VMM as the root side leaves it, whose VM nobody knows any more."""
    vm_id = naming.new_id()
    mark = naming.process_name(UID, vm_id)
    folder = jail_calls.folder_of(mark)
    folder.mkdir(parents=True)
    user = jail_calls.FIRST_UID + int(vm_id[:4], 16)
    jail_calls.write_record(mark, JailRecord(user, str(paths.vm_runtime(vm_id)), ""))
    argv = [sys.executable, "-c", "import time; time.sleep(60)", mark]
    started = marked(subprocess.Popen(argv, user=user))
    yield vm_id, started
    started.kill()
    started.wait()
    shutil.rmtree(folder, ignore_errors=True)


async def test_a_jailed_vmm_without_a_vm_is_ended_by_the_root_side(
    paths: Paths, jailed: tuple[str, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    vm_id, started = jailed
    # As an ordinary user, who sees nothing of what another user's process holds.
    monkeypatch.setattr("banger.host.process.kill_exact", forbidden)
    found = await census(paths)
    assert found["process", vm_id].verdict is Verdict.LEAKED
    assert found["jail", vm_id].verdict is Verdict.LEAKED
    outcome = await prune._remove(
        [found["process", vm_id], found["jail", vm_id]], paths, UID, AsUser()
    )
    assert [problem for _, problem in outcome] == ["", ""]
    assert started.wait(10) == -signal.SIGKILL
    assert not {"process", "jail"} & {kind for kind, of in await census(paths) if of == vm_id}


async def test_a_jailed_vmm_of_another_home_is_foreign(
    paths: Paths, jailed: tuple[str, subprocess.Popen[bytes]]
) -> None:
    vm_id, _ = jailed
    elsewhere = {"HOME": str(paths.state), "XDG_RUNTIME_DIR": str(paths.state / "run")}
    found = await census(Paths.from_environment(elsewhere, UID))
    assert found["process", vm_id].verdict is Verdict.FOREIGN
    assert found["jail", vm_id].verdict is Verdict.FOREIGN


def forbidden(*_: object) -> bool:
    raise PermissionError(1, "Operation not permitted")


def test_a_pid_that_is_anothers_by_now_is_left_alone(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        vm_id = naming.new_id()
        gone = HostObject("process", "vmm", vm_id, Verdict.LEAKED, str(other.pid))
        monkeypatch.setattr(prune, "_leaked", lambda objects: {gone})
        assert prune.remove([gone], paths, UID, AsUser()) == [(gone, "")]
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


async def test_rules_without_an_interface_are_leaked(
    paths: Paths, attached: list[tuple[str, Lease]]
) -> None:
    (lost, lease), _ = attached
    netlink.delete_link(tap_marks.facts(lease.tap).index)
    found = await census(paths)
    assert ("interface", lost) not in found
    assert found["rules", lost].verdict is Verdict.LEAKED
    await prune._remove([found["rules", lost]], paths, UID, AsUser())
    assert ("rules", lost) not in await census(paths)
