"""Decides what ``auto`` means on this host, without keeping anybody waiting for the KVM probe."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from banger.daemon.ports import DriverFact, DriverFacts
from banger.errors import BangerError
from banger.host import choice as host
from banger.host.facts import host_facts
from banger.host.firecracker_binary import likely_firecracker
from banger.host.kvm_probe import KvmLevel, KvmVerdict, probe_kvm
from banger.host.threads import in_thread
from banger.paths import Paths
from banger.service.context import Choice
from banger.settings import Settings

#: Seconds that ``facts`` waits for a probe under way.
PATIENCE = 1.0
_UNPROBED = KvmVerdict(KvmLevel.MISSING, "KVM is still being probed")


class Selection:
    """The choice of drivers for one user's state folder."""

    def __init__(self, paths: Paths, settings: Settings) -> None:
        self._paths = paths
        self._settings = settings
        self._verdict: KvmVerdict | None = None
        self._probing: asyncio.Future[KvmVerdict] | None = None

    async def choose(self) -> Choice:
        """The drivers of a new VM.

        Where a Firecracker is installed they depend on what KVM can do, which takes seconds to
        find out at the first call; elsewhere it is probed meanwhile. Firecracker by name runs with
        KVM or not at all: a probe would only take its guest's time.
        """
        if self._settings.vmm != host.FIRECRACKER:
            probing = self._probe()
        chosen = await self._chosen(self._verdict or _UNPROBED)
        if self._settings.vmm == host.AUTO and await in_thread(lambda _: self._has_firecracker()):
            chosen = await self._chosen(await asyncio.shield(probing))
        return Choice(
            chosen.vmm.name, chosen.storage.name, chosen.network.name, chosen.raw_storage.name
        )

    async def accelerator(self) -> str:
        """``kvm`` where it was seen to boot Linux, else ``tcg``; seconds at its first call.

        The verdict is asked for each time: it is cached until the host or the kernel that it
        was tried with changes.
        """
        verdict = await asyncio.shield(self._probe())
        return host.choose_accelerator(await self._host_facts(verdict)).name

    async def facts(self, version: Callable[[str], Awaitable[str]]) -> DriverFacts:
        """The choice with its reasons, and what ``version`` says of the VMM of that name."""
        found = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await asyncio.shield(self._probe())
        chosen = await self._chosen(self._verdict or _UNPROBED)
        if self._verdict:
            with contextlib.suppress(TimeoutError, BangerError):
                async with asyncio.timeout(PATIENCE):
                    found = await version(chosen.vmm.name)
        vmm, how = chosen.vmm, chosen.accelerator
        reason = f"{vmm.reason}; {how.reason}" if self._verdict else vmm.reason
        accelerator = how.name if self._verdict else ""
        return DriverFacts(
            vmm=DriverFact(vmm.name, reason, accelerator, found),
            storage=DriverFact(chosen.storage.name, chosen.storage.reason),
            network=DriverFact(chosen.network.name, chosen.network.reason),
        )

    def _has_firecracker(self) -> bool:
        return likely_firecracker(self._paths.firecracker).exists()

    def _probe(self) -> asyncio.Future[KvmVerdict]:
        if self._probing is None or self._probing.done():
            self._probing = asyncio.ensure_future(self._verdict_now())
            # Nobody may be waiting for it.
            self._probing.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._probing

    async def _verdict_now(self) -> KvmVerdict:
        self._verdict = await in_thread(lambda _: probe_kvm(self._paths))
        return self._verdict

    async def _host_facts(self, verdict: KvmVerdict) -> host.HostFacts:
        return await in_thread(lambda _: host_facts(self._paths, verdict))

    async def _chosen(self, verdict: KvmVerdict) -> host.Choice:
        facts = await self._host_facts(verdict)
        wanted = self._settings
        return host.choose(facts, wanted.vmm, wanted.storage, wanted.network)
