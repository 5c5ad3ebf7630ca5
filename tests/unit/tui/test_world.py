"""What the screen knows, by lists and events in every order."""

from __future__ import annotations

from typing import Any, cast

from banger.client.events import ReceivedEvent
from banger.client.views import OperationView, StatsView, VMView
from banger.errors import DaemonUnreachable
from banger.tui.glyphs import bar, curve, fill_tone, look
from banger.tui.listing import Column, fit
from banger.tui.tabs.log_text import ConsoleLines, typed
from banger.tui.themes import NAMES, THEMES, Tones
from banger.tui.vm_rows import arrange, short_size
from banger.tui.world import MAX_OPERATIONS, Figures, Lost, Snapshot, World, totals
from tests.fakes.daemon import FakeDaemon
from tests.fakes.daemon_server import stats_of


def vm_of(name: str, **changes: Any) -> VMView:
    daemon = FakeDaemon.__new__(FakeDaemon)
    daemon._counter, daemon.vms = abs(hash(name)) % 1000, {}
    return cast("VMView", daemon.add_vm(name, **changes))


def world_of(*vms: VMView) -> World:
    world = World()
    world.apply(Snapshot(vms, (), (), {}), 0.0)
    return world


def operation_of(identity: str, status: str = "running", steps: int = 0) -> OperationView:
    return cast(
        "OperationView",
        {"id": identity, "kind": "vm.start", "target": {"kind": "vm", "id": "v", "name": "web"},
         "status": status, "progress": None, "error": None, "result": {}, "log": None,
         "steps": [{"position": n, "name": "s", "title": f"step {n}", "phase": "done"}
                   for n in range(steps)],
         "created_at": "2026-01-02T03:04:05Z", "ended_at": None},
    )  # fmt: skip


def event(kind: str, data: object) -> ReceivedEvent:
    return ReceivedEvent(kind, cast("dict[str, Any]", data))


def test_an_event_older_than_the_list_changes_nothing() -> None:
    vm = vm_of("web", state="running", generation=5)
    world = world_of(vm)
    world.apply(event("vm", {**vm, "state": "starting", "generation": 4}), 1.0)
    assert world.vms[vm["id"]]["state"] == "running"
    world.apply(event("vm", {**vm, "state": "stopping", "generation": 6}), 1.0)
    assert world.vms[vm["id"]]["state"] == "stopping"


def test_a_list_takes_the_place_of_all_that_was_known() -> None:
    old, new = vm_of("old"), vm_of("new")
    world = world_of(old)
    world.apply(Lost(DaemonUnreachable("gone")), 1.0)
    assert (world.live, list(world.vms)) == (False, [old["id"]])
    world.apply(Snapshot([new], (), (), {}), 2.0)
    assert (world.live, world.lost, list(world.vms)) == (True, None, [new["id"]])


def test_an_operation_that_ended_while_nobody_listened_is_told() -> None:
    world = World()
    world.apply(Snapshot((), (), [operation_of("a")], {}), 0.0)
    world.apply(Snapshot((), (), [operation_of("a", "failed")], {}), 1.0)
    assert [one["id"] for one in world.ended] == ["a"]


def test_steps_and_progress_of_an_operation() -> None:
    world = World()
    world.apply(event("operation", operation_of("a")), 0.0)
    world.apply(event("log", {"operation_id": "a", "title": "copy", "fraction": 0.5}), 0.0)
    assert world.operations["a"]["progress"] == {"title": "copy", "fraction": 0.5, "detail": ""}
    for phase in ("intent", "done"):
        world.apply(event("step", {"operation_id": "a", "position": 0, "name": "s",
                                   "title": "step", "phase": phase}), 0.0)  # fmt: skip
    assert [step["phase"] for step in world.operations["a"]["steps"]] == ["done"]
    assert world.operations["a"]["progress"] is None
    assert world.running_operations() == [world.of_target("v")]
    # The end comes without steps where it was made before them.
    world.apply(event("operation", operation_of("a", "succeeded")), 0.0)
    assert len(world.operations["a"]["steps"]) == 1
    assert world.of_target("v") is None
    assert [one["status"] for one in world.ended] == ["succeeded"]


def test_old_operations_are_forgotten_and_running_ones_are_not() -> None:
    world = World()
    world.apply(event("operation", operation_of("running")), 0.0)
    for number in range(MAX_OPERATIONS + 50):
        world.apply(event("operation", operation_of(f"{number}", "succeeded")), 0.0)
    assert len(world.operations) == MAX_OPERATIONS
    assert "running" in world.operations


def test_events_of_unknown_kinds_and_things_are_no_news() -> None:
    world = World()
    for kind in ("step", "log", "lost", "message", "vm-deleted", "image-deleted"):
        world.apply(event(kind, {"id": "x", "operation_id": "y", "name": "z"}), 0.0)
    assert not world.vms
    assert not world.operations


def test_figures_and_totals() -> None:
    vm = vm_of("web", state="running", network="tap")
    world = world_of(vm, vm_of("db", state="failed"))
    for look_number in (1, 2, 3):
        stats = cast("StatsView", stats_of(cast("dict[str, Any]", vm), look_number))
        world.apply(Figures([stats]), float(look_number))
    assert list(world.history[vm["id"]].cpu) == [25.0, 25.0]
    traffic = world.traffic(vm["id"])
    assert traffic is not None
    assert (traffic["received_rate"], traffic["sent_rate"]) == (5000, 3000)
    assert traffic["disk_written_rate"] == 2 << 20
    sums = totals(world)
    assert (sums.vms, sums.running, sums.failed, sums.vcpus, sums.cpu) == (2, 1, 1, 2, 0.5)
    world.apply(event("vm", {**vm, "state": "stopped", "generation": 9}), 4.0)
    assert vm["id"] not in world.figures
    assert world.traffic(vm["id"]) is None
    assert vm["id"] not in world.history


def test_names_are_in_the_order_of_their_numbers() -> None:
    vms = [vm_of(name) for name in ("web-10", "web-2", "db", "web-1")]
    world = world_of(*vms)
    names = [world.vms[one]["name"] for one in arrange(world, "", "name")]
    assert names == ["db", "web-1", "web-2", "web-10"]


def test_columns_give_way_by_rank_and_grow_where_they_may() -> None:
    columns = [Column("a", "A", 10, grow=True), Column("b", "B", 10, rank=2),
               Column("c", "C", 10, rank=1)]  # fmt: skip
    assert [(c.key, w) for c, w in fit(columns, 40)] == [("a", 17), ("b", 10), ("c", 10)]
    assert [(c.key, w) for c, w in fit(columns, 25)] == [("a", 13), ("c", 10)]
    assert [(c.key, w) for c, w in fit(columns, 5)] == [("a", 10)]


def test_curves_and_bars() -> None:
    assert curve([0, 50, 100, 200, -1], 6, 100) == " ▁▅██▁"
    assert curve([1.0], 3, 0.0) == "  ▁"
    assert curve([], 3, 1.0) == "   "
    assert (bar(0.5, 4), bar(2, 4), bar(-1, 4)) == ("██░░", "████", "░░░░")
    assert [fill_tone(share) for share in (0.79, 0.8, 0.96)] == ["", "warn", "bad"]
    assert look("nonsense").glyph == "?"


def test_short_sizes() -> None:
    sizes = [0, 999, 1023, 1536 << 10, 300 << 20, 999 << 20, 10 << 30, 5 << 40]
    shown = [short_size(size) for size in sizes]
    assert shown == ["0B", "999B", "1K", "1.5M", "300M", "999M", "10G", "5.0T"]
    assert all(len(text) <= 5 for text in shown)


def test_a_line_of_a_console_as_it_stands_in_the_end() -> None:
    assert typed(b"10%\r20%\r100%") == "100%"
    assert typed(b"abc\x08\x08X") == "aXc"
    assert typed(b"wrong\r\x1b[Kright\x1b[0m") == "right"
    assert typed(b"\x1b[32mgreen\x1b[0m \x1b[2J\x1b[Htop") == "top"
    assert (
        typed("\x9b31m\u202ex".encode()) == "\N{REPLACEMENT CHARACTER}31m\N{REPLACEMENT CHARACTER}x"
    )
    assert typed(b"\xff\x07") == "\N{REPLACEMENT CHARACTER}"


def test_a_console_is_cut_anywhere_and_bounded() -> None:
    lines = ConsoleLines()
    for piece in (b"on", b"e\ntw", b"o\n", b"thr"):
        lines.feed(piece)
    assert lines.all() == [b"one", b"two", b"thr"]
    lines.feed(b"\n" * 5000 + b"x" * 100_000)
    assert len(lines.all()) == 2001
    assert len(lines.all()[-1]) == 65536


def test_each_theme_has_every_tone_and_can_be_read() -> None:
    for name, theme in zip(NAMES, THEMES, strict=True):
        tones = Tones(name)
        for tone in ("good", "warn", "bad", "dim", "busy", "key", "title", "mark"):
            color = tones[tone].color
            assert color is not None
            text, ground = color.get_truecolor(), theme.background or ""
            least = 7.0 if name == "contrast" else 4.5
            assert _contrast(text, tuple(bytes.fromhex(ground[1:]))) >= least, (name, tone)


def _contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """The ratio of two colours' luminance (WCAG 2.1, relative luminance)."""

    def luminance(color: tuple[int, ...]) -> float:
        parts = [part / 255 for part in color]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
