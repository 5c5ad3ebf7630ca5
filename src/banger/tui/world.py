"""What the screen knows: the objects, their figures and what happened (no input or output)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from banger.cli.events import describe
from banger.client.events import ReceivedEvent
from banger.client.rates import cpu_rate, rated
from banger.client.views import (
    ImageView,
    JSONObject,
    OperationView,
    StatsView,
    StepView,
    VMView,
    ended,
)
from banger.errors import BangerError

#: Figures kept of each VM: a minute at one a second.
HISTORY = 60
#: Lines of the event list, and ended operations, that are kept.
MAX_HAPPENED = 500
MAX_OPERATIONS = 300


class Snapshot(NamedTuple):
    """All lists of the daemon, read after its event stream was open."""

    vms: Sequence[VMView]
    images: Sequence[ImageView]
    operations: Sequence[OperationView]
    daemon: JSONObject


class Figures(NamedTuple):
    """One look at what the running VMs use."""

    stats: Sequence[StatsView]


class Use(NamedTuple):
    """What a VM uses: cores (None until there are two looks), their share in percent, bytes."""

    cores: float | None
    percent: float | None
    resident: int


class Lost(NamedTuple):
    """The daemon cannot be reached, and why."""

    error: BangerError


News = Snapshot | Figures | Lost | ReceivedEvent


class Happening(NamedTuple):
    """A line of the event list: Unix time, and the ids of the VM or image that it is about."""

    at: float
    kind: str
    text: str
    target: str


@dataclass(slots=True)
class History:
    """The last figures of a VM, oldest first: percent of its CPUs, bytes resident."""

    cpu: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    memory: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))


class World:
    """The state behind every view; ``apply`` is its only way to change."""

    def __init__(self) -> None:
        self.vms: dict[str, VMView] = {}
        self.images: dict[str, ImageView] = {}
        self.operations: dict[str, OperationView] = {}
        self.daemon: JSONObject = {}
        self.figures: dict[str, Use] = {}
        self.history: dict[str, History] = {}
        self.happened: deque[Happening] = deque(maxlen=MAX_HAPPENED)
        #: Whether the event stream is open; ``lost`` says why it is not.
        self.live = False
        self.lost: BangerError | None = None
        #: Operations that ended since somebody last took them.
        self.ended: list[OperationView] = []
        #: The last look at what VMs use, and the one before it.
        self._stats: dict[str, StatsView] = {}
        self._earlier: dict[str, StatsView] = {}

    def apply(self, news: News, now: float) -> None:
        """Take in one piece of news that came at ``now`` (Unix seconds)."""
        if isinstance(news, ReceivedEvent):
            self._event(news, now)
        elif isinstance(news, Figures):
            self._figures(news.stats)
        elif isinstance(news, Snapshot):
            self._resync(news)
        else:
            self.live, self.lost = False, news.error
            self._no_figures()

    def running_operations(self) -> list[OperationView]:
        """What the daemon does now, oldest first."""
        return [one for one in self.operations.values() if not ended(one)]

    def of_target(self, target: str) -> OperationView | None:
        """The operation that runs on this VM or image."""
        for one in self.operations.values():
            if one["target"]["id"] == target and not ended(one):
                return one
        return None

    def traffic(self, vm_id: str) -> JSONObject | None:
        """The figures of this VM with the rates of its disks and its network."""
        if vm_id not in self.figures:
            return None
        return rated(self._earlier.get(vm_id), self._stats[vm_id])

    def _resync(self, news: Snapshot) -> None:
        self.live, self.lost = True, None
        self.daemon = news.daemon
        self.vms = {vm["id"]: vm for vm in news.vms}
        self.images = {image["id"]: image for image in news.images}
        before = self.operations
        self.operations = {one["id"]: one for one in news.operations}
        for known in before.values():
            now = self.operations.get(known["id"])
            if now is not None and ended(now) and not ended(known):
                self.ended.append(now)
        self._forget_old_operations()
        for gone in self.history.keys() - self.vms.keys():
            self._forget(gone)

    def _event(self, event: ReceivedEvent, now: float) -> None:
        data, identity = event.data, str(event.data.get("id", ""))
        target = identity
        if event.kind == "vm":
            known = self.vms.get(identity)
            # What was on its way while the lists were read may be older than they are.
            if known is None or known["generation"] <= data.get("generation", 0):
                self.vms[identity] = cast("VMView", data)
            if data.get("state") not in ("running", "paused"):
                self._forget(identity)
            if known is not None and known["state"] == data.get("state"):
                return
        elif event.kind == "vm-deleted":
            self.vms.pop(identity, None)
            self._forget(identity)
        elif event.kind == "image":
            self.images[identity] = cast("ImageView", data)
        elif event.kind == "image-deleted":
            self.images.pop(identity, None)
        elif event.kind == "operation":
            self._operation(cast("OperationView", data))
            target = str((data.get("target") or {}).get("id", ""))
        elif event.kind in ("step", "log"):
            self._progress(event.kind, data)
            return
        else:
            return
        self.happened.append(Happening(now, event.kind, describe(event), target))

    def _operation(self, operation: OperationView) -> None:
        known = self.operations.get(operation["id"])
        if known is not None and len(known["steps"]) > len(operation["steps"]):
            operation["steps"] = known["steps"]
        self.operations[operation["id"]] = operation
        if ended(operation) and (known is None or not ended(known)):
            self.ended.append(operation)
        self._forget_old_operations()

    def _progress(self, kind: str, data: Mapping[str, Any]) -> None:
        operation = self.operations.get(str(data.get("operation_id")))
        if operation is None or ended(operation):
            return
        if kind == "log":
            operation["progress"] = {
                "title": str(data.get("title") or ""),
                "fraction": data.get("fraction"),
                "detail": str(data.get("detail") or ""),
            }
            return
        operation["progress"] = None
        step = cast("StepView", {key: data[key] for key in StepView.__annotations__})
        steps = [one for one in operation["steps"] if one["position"] != step["position"]]
        operation["steps"] = sorted([*steps, step], key=lambda one: one["position"])

    def _figures(self, stats: Sequence[StatsView]) -> None:
        self._earlier, self._stats = self._stats, {one["id"]: one for one in stats}
        self.figures = {}
        for identity, look in self._stats.items():
            # No more than the list shows: this is done for each of 1,000 VMs every second.
            cores = cpu_rate(self._earlier.get(identity), look)
            percent = None if cores is None else 100 * cores / look["vcpus"]
            resident = look["resident_bytes"]
            self.figures[identity] = Use(cores, percent, resident)
            history = self.history.get(identity)
            if history is None:
                history = self.history[identity] = History()
            if percent is not None:
                history.cpu.append(percent)
            history.memory.append(resident)
            vm = self.vms.get(identity)
            used = look.get("overlay_used_bytes")
            if vm is not None and used is not None:
                vm["overlay_used_bytes"] = used

    def _no_figures(self) -> None:
        self._stats, self._earlier, self.figures = {}, {}, {}

    def _forget(self, vm_id: str) -> None:
        self.figures.pop(vm_id, None)
        self.history.pop(vm_id, None)

    def _forget_old_operations(self) -> None:
        over = len(self.operations) - MAX_OPERATIONS
        if over > 0:
            old = [one for one, view in self.operations.items() if ended(view)][:over]
            for one in old:
                del self.operations[one]


class Totals(NamedTuple):
    """Sums over all VMs; bytes, and ``cpu`` in cores."""

    vms: int
    running: int
    failed: int
    vcpus: int
    cpu: float
    memory_given: int
    memory_used: int
    overlay_used: int


def totals(world: World) -> Totals:
    """What all VMs together have and use."""
    vms: Iterable[VMView] = world.vms.values()
    live = [vm for vm in vms if vm["state"] in ("running", "paused", "starting", "stopping")]
    figures = world.figures.values()
    return Totals(
        vms=len(world.vms),
        running=sum(vm["state"] == "running" for vm in vms),
        failed=sum(vm["state"] == "failed" for vm in vms),
        vcpus=sum(vm["vcpus"] for vm in live),
        cpu=sum(one.cores or 0.0 for one in figures),
        memory_given=sum(vm["memory_mib"] for vm in live) << 20,
        memory_used=sum(one.resident for one in figures),
        overlay_used=sum(vm["overlay_used_bytes"] for vm in vms),
    )
