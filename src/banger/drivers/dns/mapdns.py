"""Names of VMs as records of mapdns, served by the daemon and wired to the host's resolver."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import structs

from banger import naming
from banger.drivers.dns.base import NameStatus, Publication, ResolverWiring, Wanted
from banger.drivers.dns.listening import Listening
from banger.errors import BangerError, Conflict
from banger.host.threads import in_thread
from banger.mapdns.records import Record, Records, full_name
from banger.mapdns.server import PORT, Answers
from banger.model.network import Lease

_log = logging.getLogger(__name__)
Edit = Callable[[dict[str, Record]], None]
#: Seconds between two looks whether somebody else has changed the records.
WATCH_SECONDS = 1.0
#: resolv.conf(5): the resolver looks at no more than three.
_MOST_SERVERS = 3


class MapdnsNames:
    """The one name service of a daemon; nothing runs before the first name is published."""

    def __init__(self, records: Records, choose: Callable[[], ResolverWiring], uid: int) -> None:
        """``choose`` may look at the host, and is asked again while it finds nothing to wire."""
        self._records = records
        self._answers = Answers(records)
        self._listening = Listening(self._answers)
        self._choose = choose
        self._wiring: ResolverWiring | None = None
        self._uid = uid
        self._published: dict[str, Publication] = {}
        self._refused: dict[str, str] = {}
        self._gateways: dict[str, str] = {}
        self._watching: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._edits: list[tuple[Edit, asyncio.Future[None]]] = []
        self._editing: asyncio.Task[None] | None = None
        self._asked = self._done = 0
        self._problem = ""
        self._wired = False

    async def publish(self, publication: Publication) -> None:
        vm_id = publication.vm_id
        self._refused.pop(vm_id, None)
        try:
            full = full_name(publication.name)
            await self._change(lambda table: self._put(table, publication))
        except BangerError as error:
            self._refused[vm_id] = f"{error.brief}: {error.cause}"
            raise
        self._published[vm_id] = structs.replace(publication, name=full)
        self._gateways[vm_id] = publication.gateway
        await self._apply()

    async def withdraw(self, vm_id: str) -> None:
        mark = self._mark(vm_id)
        self._refused.pop(vm_id, None)
        listened = self._gateways.pop(vm_id, "")
        recorded = any(record.owner == mark for record in self._answers.table().values())
        if recorded:
            await self._change(lambda table: _drop(table, {mark}))
        if self._published.pop(vm_id, None) is not None or recorded:
            await self._apply()
        elif listened:
            async with self._lock:
                await self._listening.ensure(set(self._gateways.values()))

    async def settle(self, publications: Sequence[Publication], busy: Collection[str]) -> None:
        kept = {self._mark(vm_id) for vm_id in busy}

        def edit(table: dict[str, Record]) -> None:
            ours = {record.owner for record in table.values() if self._is_ours(record)}
            _drop(table, ours - kept)
            for publication in publications:
                try:
                    self._put(table, publication)
                except BangerError as error:
                    self._refused[publication.vm_id] = f"{error.brief}: {error.cause}"
                    continue
                named = structs.replace(publication, name=full_name(publication.name))
                self._published[publication.vm_id] = named
                self._gateways[publication.vm_id] = publication.gateway

        if publications or self._answers.table():
            await in_thread(lambda _: self._records.change(edit))
        if self._published or (await self._chosen()).leftover():
            await self._apply()

    async def listen(self, lease: Lease, vm_id: str) -> int:
        if not lease.tap:
            return 0
        self._gateways[vm_id] = lease.gateway
        async with self._lock:
            await self._listening.ensure(set(self._gateways.values()))
        port = self._listening.port_at(lease.gateway)
        return 0 if port == PORT else port

    def nameservers(self, lease: Lease) -> tuple[str, ...]:
        if not lease.tap or not self._listening.port_at(lease.gateway):
            return lease.nameservers
        others = (server for server in lease.nameservers if server != lease.gateway)
        return (lease.gateway, *others)[:_MOST_SERVERS]

    def dns_name(self, vm_id: str) -> str:
        publication = self._published.get(vm_id)
        return publication.name if publication and self._wired else ""

    def obstacle(self, vm_id: str) -> str:
        if vm_id in self._refused:
            return self._refused[vm_id]
        return self._problem if vm_id in self._published else ""

    def list(self) -> Mapping[str, str]:
        return {entry.name: entry.address for entry in self._published.values()}

    def status(self) -> NameStatus:
        wired = self._wiring.name if self._wiring is not None and self._wired else ""
        return NameStatus(self._listening.server, wired, self._problem)

    async def close(self) -> None:
        if self._editing is not None:
            await asyncio.gather(self._editing, return_exceptions=True)
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None
        await self._listening.close()

    def _put(self, table: dict[str, Record], publication: Publication) -> None:
        full, mark = full_name(publication.name), self._mark(publication.vm_id)
        found = table.get(full)
        if found is not None and found.owner != mark:
            raise Conflict(
                f"the name {full} is taken",
                cause=f"it was set to {found.addresses[0]} by {found.owner or 'hand'}",
                resolution=f"mapdns rm {full}, then restart the VM",
            )
        _drop(table, {mark})  # an earlier name of the same VM
        table[full] = Record((publication.address,), mark)

    async def _change(self, edit: Edit) -> None:
        """Edit the records; those that come while a round is under way share the next one.

        Raises what the edit raises, which must then have changed nothing.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._edits.append((edit, done))
        if self._editing is None or self._editing.done():
            self._editing = asyncio.create_task(self._edit_all())
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            # Whoever cleans up afterwards does not race with it.
            await asyncio.wait([done])
            if not done.cancelled():
                done.exception()  # seen, and of no interest any more
            raise

    async def _edit_all(self) -> None:
        while self._edits:
            edits, self._edits = self._edits, []
            try:
                failures = await in_thread(functools.partial(self._edit_round, edits))
            except BaseException as error:  # noqa: BLE001 - whoever asked is told
                failures = dict.fromkeys(range(len(edits)), error)
            for number, (_, done) in enumerate(edits):
                if number in failures:
                    done.set_exception(failures[number])
                else:
                    done.set_result(None)

    def _edit_round(
        self, edits: Sequence[tuple[Edit, object]], _stopped: Callable[[], bool]
    ) -> dict[int, BaseException]:
        """Make all edits in one change; which of them failed, and why."""
        failures: dict[int, BaseException] = {}

        def edit_each(table: dict[str, Record]) -> None:
            for number, (edit, _) in enumerate(edits):
                try:
                    edit(table)
                except BangerError as error:
                    failures[number] = error

        # A power cut ends all VMs, and whoever begins after it writes the names anew (settle).
        self._records.change(edit_each, lasting=False)
        return failures

    async def _apply(self) -> None:
        """Bring server and wiring to what is published; many at once share one round."""
        self._asked += 1
        wanted = self._asked
        async with self._lock:
            if self._done >= wanted:
                return
            now = self._asked
            await self._listening.ensure(set(self._gateways.values()))
            if self._published:
                await self._listening.ensure_host()
                if self._watching is None:
                    self._watching = asyncio.create_task(self._watch())
            await self._wire()
            self._done = now

    async def _wire(self) -> None:
        table = {name: record.addresses[0] for name, record in self._answers.table().items()}
        links = {vm_id: naming.tap_name(vm_id) for vm_id in self._published}
        try:
            wiring = await self._chosen()
            await wiring.wire(Wanted(table, links, self._listening.server))
        except BangerError as error:
            problem = error.cause or error.brief
            if problem != self._problem:
                _log.warning("names are not wired: %s", problem)
            self._wired, self._problem = False, problem
        else:
            self._wired, self._problem = bool(links and wiring.name), ""

    async def _chosen(self) -> ResolverWiring:
        if self._wiring is None or not self._wiring.name:
            self._wiring = await in_thread(lambda _: self._choose())
        return self._wiring

    async def _watch(self) -> None:
        """See what ``mapdns set`` and ``rm`` do meanwhile."""
        stamp = self._records.stamp()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            found = self._records.stamp()
            if found != stamp and self._published:
                stamp = found
                await self._apply()

    def _mark(self, vm_id: str) -> str:
        return naming.tap_alias(self._uid, vm_id)

    def _is_ours(self, record: Record) -> bool:
        return record.owner.startswith(naming.tap_alias(self._uid, ""))


def _drop(table: dict[str, Record], marks: set[str]) -> None:
    for name in [name for name, record in table.items() if record.owner in marks]:
        del table[name]
