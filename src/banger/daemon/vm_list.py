"""Encodes the list of all VMs once for all who ask while nothing changes."""

from __future__ import annotations

import time

from msgspec import Struct

from banger.api import bodies, codec
from banger.daemon.ports import Services, VMFacts
from banger.daemon.views import view_vm
from banger.errors import BangerError
from banger.model.vm import VM

FIELDS = frozenset(bodies.VM.__struct_fields__)
#: Fields that cost a look at the VM's files.
_OBSERVED = frozenset({"dns_name", "overlay_used_bytes", "directory", "warnings"})
#: Fields that change while no row does, and the seconds for which a body with them is good.
_MOVING = frozenset({"dns_name", "overlay_used_bytes", "warnings", "uptime_seconds"})
MAX_AGE = 0.5


class _Unobserved(Struct, frozen=True):
    """Stands for the facts of a VM that nobody asked for, or that could not be read."""

    vm: VM
    overlay_used_bytes: int = 0
    directory: str = ""
    warnings: tuple[str, ...] = ()
    dns_name: str = ""


class VMList:
    """The encoded answers to ``GET /v1/vms`` by the set of fields."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._changes = -1
        self._kept: dict[frozenset[str], tuple[float, bytes]] = {}

    def encode(self, fields: frozenset[str] = FIELDS) -> bytes:
        """The body. A VM whose files cannot be read is listed with a warning."""
        changes, now = self._services.changes(), time.monotonic()
        if changes != self._changes:
            self._kept.clear()
            self._changes = changes
        kept = self._kept.get(fields)
        if kept and (now - kept[0] < MAX_AGE or not fields & _MOVING):
            return kept[1]
        if len(self._kept) >= 8:
            self._kept.clear()
        body = self._encode(fields)
        self._kept[fields] = now, body
        return body

    def _encode(self, fields: frozenset[str]) -> bytes:
        now = time.time()
        observed = bool(fields & _OBSERVED)
        views = [
            view_vm(self._describe(vm) if observed else _Unobserved(vm), now)
            for vm in self._services.vms.list()
        ]
        if fields == FIELDS:
            return codec.encode(bodies.VMs(vms=views))
        wanted = [name for name in bodies.VM.__struct_fields__ if name in fields]
        chosen = [{name: getattr(view, name) for name in wanted} for view in views]
        return codec.encode({"vms": chosen})

    def _describe(self, vm: VM) -> VMFacts:
        try:
            return self._services.vms.describe(vm)
        except (BangerError, OSError) as error:
            return _Unobserved(vm, warnings=(f"its files cannot be read: {error}",))
