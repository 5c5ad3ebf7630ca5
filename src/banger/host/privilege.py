"""Sends batches of calls to the root side and turns its refusals into banger's errors."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from msgspec import Struct

from banger.errors import BangerError, Conflict, HostNotReady, InternalError, PermissionRefused
from banger.host import sudo
from banger.host.threads import in_thread
from banger.privileged import installation
from banger.privileged.calls import (
    CATALOGUE,
    Call,
    CallFailed,
    SnapshotCall,
    SnapshotProbe,
    TapFacts,
)

#: Seconds for the first sign of life.
_PATIENCE = 30.0
#: Seconds after which snapshots are asked for again where there were none.
_ASK_AGAIN = 60.0


class _Snapshots(Struct, frozen=True):
    """What ``Privilege.probe_snapshots`` says, until when, and of which state of the program."""

    obstacle: str
    evidence: str
    changed: int
    until: float


class Privilege:
    """The way to the root side: being root ourselves, or sudo and the installed program."""

    #: Programs that have answered, with the time of their last change: asking takes a while.
    _answered: ClassVar[dict[Path, int]] = {}
    #: What was found out about snapshots, by program.
    _snapshots: ClassVar[dict[Path, _Snapshots]] = {}
    #: Held while a program is asked for the first time: who waits takes the same answer.
    _asking: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, program: Path | None = None) -> None:
        self._program = program or installation.program()

    def available(self) -> bool:
        """Whether calls can be carried out at all (blocking; the first time up to seconds)."""
        return not self.obstacle()

    def obstacle(self) -> str:
        """Why no call can be carried out; empty if they can be."""
        if os.geteuid() == 0:
            return ""
        try:
            changed = self._program.stat().st_mtime_ns
        except OSError:
            return "banger does not run as root, and has no root side here"
        with self._asking:
            if self._answered.get(self._program) != changed:
                try:
                    reply = sudo.ask(self._program, timeout=_PATIENCE)
                except BangerError as error:
                    return f"{error.brief}: {error.cause}"
                if "error" in reply:
                    return str(reply["error"].get("text", "the root side refuses"))
                self._answered[self._program] = changed
        return ""

    def require(self, instead: str = "--network user") -> None:
        """Raises ``PermissionRefused`` if there is no root side.

        ``instead`` is the option with which a VM is created that needs none.
        """
        obstacle = self.obstacle()
        if obstacle:
            raise PermissionRefused(
                "this needs root, and banger runs as an ordinary user",
                cause=obstacle,
                resolution=f"{sudo.SETUP}, or create the VM with {instead}",
            )

    async def call(self, batch: Sequence[Call]) -> list[TapFacts]:
        """Carry out the calls in order and return one result each.

        Raises ``PermissionRefused`` without a root side, ``Conflict`` if something foreign
        stands in the way, ``HostNotReady`` if the kernel refuses.
        """
        storage = any(isinstance(call, SnapshotCall) for call in batch)
        if os.geteuid() != 0:
            instead = "--storage qcow2" if storage else "--network user"
            await in_thread(lambda _: self.require(instead))
        try:
            if os.geteuid() != 0:
                return await in_thread(lambda stopped: sudo.perform(self._program, batch, stopped))
            return await in_thread(lambda _: _perform(batch, os.getuid()))
        except CallFailed as failure:
            raise explain(failure, storage=storage) from failure

    def probe_snapshots(self) -> tuple[str, str]:
        """Why no snapshot of device-mapper can be made, and the evidence that one can.

        One of the two is empty (blocking). Choosing drivers must be quick, so it is asked once;
        again when the program has changed, and every minute where there are none.
        """
        obstacle = self.obstacle()
        if obstacle:
            return f"device-mapper needs root: {obstacle}", ""
        changed, now = self._answered.get(self._program, 0), time.monotonic()
        known = self._snapshots.get(self._program)
        if known is None or known.changed != changed or now >= known.until:
            try:
                if os.geteuid() == 0:
                    results = _perform([SnapshotProbe()], 0)
                else:
                    results = sudo.perform(self._program, [SnapshotProbe()], timeout=_PATIENCE)
            except CallFailed as failure:
                known = _Snapshots(failure.text, "", changed, now + _ASK_AGAIN)
            except BangerError as error:
                return f"{error.brief}: {error.cause}", ""
            else:
                known = _Snapshots("", results[0].alias, changed, math.inf)
            self._snapshots[self._program] = known
        return known.obstacle, known.evidence


def _perform(batch: Sequence[Call], uid: int) -> list[TapFacts]:
    """Carry the calls out ourselves, being root (blocking)."""
    # Imported here because ordinary users never need it, and then as a whole: a daemon goes on
    # when another banger is installed in its place.
    from banger.privileged import execute

    execute.load(CATALOGUE.values())
    return execute.perform(batch, uid)


def explain(failure: CallFailed, *, storage: bool = False) -> BangerError:
    """The banger error for a failed call; ``storage`` tells a root drive from an interface."""
    brief = "the root side could not do its part"
    match failure.reason:
        case "foreign" if storage:
            return Conflict(
                "a device for the VM's root drive is not ours to change",
                cause=failure.text,
                resolution="dmsetup info; losetup --list, then remove what is in the way",
            )
        case "refused" if storage:
            return HostNotReady(
                "the root side does not take the files of the VM's root drive",
                cause=failure.text,
                resolution="put the file right, or create a VM with --storage qcow2",
            )
        case "foreign":
            return Conflict(
                "a network interface of the VM is not ours to change",
                cause=failure.text,
                resolution="ip -details link show, then remove or rename what is in the way",
            )
        case "failed":
            return HostNotReady(brief, cause=failure.text, resolution="banger doctor")
        case _:
            return InternalError(f"{brief}: it refused the call", cause=failure.text)
