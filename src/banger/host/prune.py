"""Removes from the host what is ours and leaked, and nothing else."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence

from banger import naming
from banger.errors import BangerError
from banger.host import files, process
from banger.host.orphans import Census, HostObject, Verdict
from banger.host.privilege import Privilege
from banger.paths import Paths
from banger.privileged import jail_calls
from banger.privileged.calls import Call, NatClear, SnapshotDetach, TapDelete
from banger.privileged.jail_calls import JailEnd

#: Seconds between the two looks that must agree: a VM that starts just now is no leak.
PAUSE = 3.0
#: Seconds that a killed VMM may take to be gone.
_END = 5.0
#: A VMM before what it uses, a table before its interface.
_ORDER = ("process", "jail", "device", "loop", "rules", "interface", "sockets")


def look(paths: Paths, uid: int, privilege: Privilege | None = None) -> list[HostObject]:
    """What is on the host now (blocking)."""
    return asyncio.run(Census(paths, uid).take(privilege or Privilege()))


def leaked(paths: Paths, uid: int, privilege: Privilege | None = None) -> list[HostObject]:
    """What two looks, some seconds apart, both find leaked; in the order of removal."""
    first = _leaked(look(paths, uid, privilege))
    if not first:
        return []
    time.sleep(PAUSE)
    again = _leaked(look(paths, uid, privilege))
    return sorted(first & again, key=lambda each: (_ORDER.index(each.kind), each.name))


def remove(
    objects: Sequence[HostObject], paths: Paths, uid: int, privilege: Privilege | None = None
) -> list[tuple[HostObject, str]]:
    """Remove what is still leaked; each object with why it stays, empty if it is gone."""
    return asyncio.run(_remove(objects, paths, uid, privilege or Privilege()))


async def _remove(
    objects: Sequence[HostObject], paths: Paths, uid: int, privilege: Privilege
) -> list[tuple[HostObject, str]]:
    outcome = []
    now = _leaked(await Census(paths, uid).take(privilege))
    done: list[list[Call]] = []  # a device and its loops go by the same call
    for each in objects:
        problem = ""
        if each in now:
            try:
                await _remove_one(each, paths, uid, privilege, done)
            except (BangerError, OSError) as error:
                problem = str(error)
        outcome.append((each, problem))
    return outcome


async def _remove_one(
    each: HostObject, paths: Paths, uid: int, privilege: Privilege, done: list[list[Call]]
) -> None:
    name, alias = naming.tap_name(each.vm_id), naming.tap_alias(uid, each.vm_id)
    batch: list[Call] = []
    match each.kind:
        case "process" if jail_calls.read_record(naming.process_name(uid, each.vm_id)):
            batch = [JailEnd(name, alias)]  # it is another user's, and root's to end
        case "process":
            pid = int(each.detail)
            ticks, mark = process.start_ticks(pid), naming.process_name(uid, each.vm_id)
            # The look was seconds ago, and the pid may be another's by now.
            if ticks is None or not process.carries_mark(process.argv_of(pid), mark):
                return
            if process.kill_exact(pid, ticks, signal.SIGKILL):
                process.wait_gone_blocking(pid, ticks, _END)
        case "interface":
            batch = [NatClear(name, alias), TapDelete(name, alias)]
        case "rules":
            batch = [NatClear(name, alias)]
        case "device" | "loop":
            batch = [SnapshotDetach(each.vm_id)]
        case "jail":
            batch = [JailEnd(name, alias)]
        case _:
            files.remove_tree(paths.vm_runtime(each.vm_id))
    if batch and batch not in done:
        await privilege.call(batch)
        done.append(batch)


def _leaked(objects: Sequence[HostObject]) -> set[HostObject]:
    return {each for each in objects if each.verdict is Verdict.LEAKED}
