"""Lists what carries banger's marks on this host, and tells what no VM owns any more."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from banger import naming
from banger.errors import BangerError
from banger.host import process
from banger.host.privilege import Privilege
from banger.paths import Paths
from banger.privileged import jail_calls, rules_show
from banger.privileged.calls import RulesShow

_SYS = Path("/sys")
_PROC = Path("/proc")
_ID = r"([0-9a-f]{12})"


class Verdict(StrEnum):
    """``FOREIGN`` also stands for what another state folder of the same user may own."""

    OURS = "ours"
    LEAKED = "leaked"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class HostObject:
    """One thing on the host. ``detail`` is a pid, or what proves whose it is."""

    kind: str
    name: str
    vm_id: str
    verdict: Verdict
    detail: str = ""


class Census:
    """One look at the host on behalf of the user ``uid`` and their folders."""

    def __init__(self, paths: Paths, uid: int) -> None:
        self._paths = paths
        self._uid = uid
        self._known = _ids_below(paths.vms)
        self._processes = list(self._marked_processes())
        self._elsewhere = {
            vm_id
            for pid, vm_id in self._processes
            if vm_id not in self._known and not self._writes_here(pid, vm_id)
        }

    async def take(self, privilege: Privilege) -> list[HostObject]:
        """Everything found; rules only where the root side can be asked."""
        found = [*self._vmms(), *self._interfaces(), *self._devices(), *self._loops()]
        found += [*self._jails(), *self._folders()]
        with contextlib.suppress(BangerError):
            (answer,) = await privilege.call([RulesShow()])
            found += self._rules(rules_show.read_answer(answer))
        return sorted(found, key=lambda each: (each.kind, each.name))

    def _verdict(self, vm_id: str) -> Verdict:
        if vm_id in self._known:
            return Verdict.OURS
        # Its VMM runs for another state folder: not for us to judge.
        return Verdict.FOREIGN if vm_id in self._elsewhere else Verdict.LEAKED

    def _marked_processes(self) -> Iterator[tuple[int, str]]:
        mark = re.compile(rf"banger-{self._uid}-{_ID}")
        for entry in _PROC.iterdir():
            if not entry.name.isdigit():
                continue
            argv = process.argv_of(int(entry.name))
            for vm_id in {found for word in argv for found in mark.findall(word)}:
                if process.carries_mark(argv, naming.process_name(self._uid, vm_id)):
                    yield int(entry.name), vm_id

    def _vmms(self) -> Iterator[HostObject]:
        for pid, vm_id in self._processes:
            name = Path(process.executable_of(pid) or "?").name
            yield HostObject("process", f"{name} {pid}", vm_id, self._verdict(vm_id), str(pid))

    def _writes_here(self, pid: int, vm_id: str) -> bool:
        """Whether it holds files of this VM in these folders, though they are deleted.

        Nobody but root sees what a jailed one holds: there the record of its jail tells.
        """
        runtime = os.path.realpath(self._paths.vm_runtime(vm_id))
        record = jail_calls.read_record(naming.process_name(self._uid, vm_id))
        if record is not None and record.runtime == runtime:
            return True
        homes = (f"{self._paths.vm(vm_id)}/", f"{self._paths.vm_runtime(vm_id)}/")
        with contextlib.suppress(OSError):
            for link in (_PROC / str(pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(link.readlink()).startswith(homes):
                        return True
        return False

    def _interfaces(self) -> Iterator[HostObject]:
        for path in (_SYS / "class/net").iterdir():
            found = re.fullmatch(f"bgr{_ID}", path.name)
            if found is None:
                continue
            alias = _text(path / "ifalias")
            ours = alias == naming.tap_alias(self._uid, found[1])
            verdict = self._verdict(found[1]) if ours else Verdict.FOREIGN
            yield HostObject("interface", path.name, found[1], verdict, alias or "no mark")

    def _rules(self, taps: Iterable[str]) -> Iterator[HostObject]:
        for tap in sorted(taps):
            vm_id = tap.removeprefix("bgr")
            yield HostObject("rules", tap, vm_id, self._verdict(vm_id))

    def _devices(self) -> Iterator[HostObject]:
        for path in (_SYS / "block").glob("dm-*"):
            uuid = _text(path / "dm/uuid")
            found = re.match(rf"BANGER-{self._uid}-{_ID}", uuid)
            if found:
                name = _text(path / "dm/name")
                yield HostObject("device", name, found[1], self._verdict(found[1]), uuid)

    def _loops(self) -> Iterator[HostObject]:
        for path in (_SYS / "block").glob("loop*"):
            file = _text(path / "loop/backing_file")
            found = re.match(rf"{re.escape(str(self._paths.vms))}/{_ID}/", file)
            if found:
                yield HostObject("loop", path.name, found[1], self._verdict(found[1]), file)

    def _jails(self) -> Iterator[HostObject]:
        with contextlib.suppress(OSError):
            for path in jail_calls.JAILS.iterdir():
                found = re.fullmatch(rf"banger-{self._uid}-{_ID}", path.name)
                if found:
                    yield HostObject("jail", path.name, found[1], self._verdict(found[1]))

    def _folders(self) -> Iterator[HostObject]:
        folder = self._paths.runtime / "vms"
        for vm_id in sorted(_ids_below(folder)):
            yield HostObject("sockets", str(folder / vm_id), vm_id, self._verdict(vm_id))


def _ids_below(folder: Path) -> set[str]:
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError:
        return set()
    return {name for name in names if re.fullmatch(_ID, name)}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
