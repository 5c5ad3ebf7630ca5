"""The screen of VMs: the list, and the tabs of the one under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.widgets import Input

from banger.client.views import VMView
from banger.tui import actions
from banger.tui.detail import TABS, Detail
from banger.tui.entry import Entry
from banger.tui.keys import EVERYWHERE, HIDDEN_TABS, MOVING, SCREENS, VMS, Key, bindings
from banger.tui.listing import Cell, Column, Listing
from banger.tui.screens.base import WorldScreen
from banger.tui.vm_rows import COLUMNS, ORDERS, arrange, cell

#: Columns from which on list and tabs stand side by side.
SIDE_BY_SIDE = 110
ZOOMS = ("both", "detail", "list")
_NO_VMS = "no VMs yet: n makes one"


class VMScreen(WorldScreen):
    """Everything one does to VMs."""

    WHERE = "VMs"
    KEYS = VMS
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(VMS, HIDDEN_TABS, MOVING, SCREENS, EVERYWHERE)
    ]

    def __init__(self) -> None:
        super().__init__()
        self.order = 0
        self.zoom = 0

    def compose_body(self) -> ComposeResult:
        with Container(id="body"):
            with Vertical(id="left"):
                yield Listing(COLUMNS, self._cell, empty=_NO_VMS, id="vms")
                yield Entry(placeholder="words to filter by", id="filter")
            yield Detail(self.ui.client, self.ui.now, id="detail")

    def on_mount(self) -> None:
        self.query_one("#filter").display = False

    def where(self) -> str:
        chosen = self.chosen
        return f"VMs: {chosen['name']}" if chosen and ZOOMS[self.zoom] == "detail" else "VMs"

    # what is shown
    @property
    def chosen(self) -> VMView | None:
        return self.ui.world.vms.get(self.listing.chosen)

    @property
    def targets(self) -> list[VMView]:
        """The marked VMs, else the one under the cursor."""
        vms = self.ui.world.vms
        if self.listing.marked:
            return [vms[item] for item in self.listing.items if item in self.listing.marked]
        return [self.chosen] if self.chosen else []

    @property
    def filter_text(self) -> str:
        return self.query_one("#filter", Input).value

    def _cell(self, item: str, column: Column, width: int) -> Cell:
        vm = self.ui.world.vms.get(item)
        return cell(self.ui.world, vm, column.key, width) if vm else ("", "")

    def draw_body(self) -> None:
        listing, order = self.listing, ORDERS[self.order]
        listing.sorted_by = order
        listing.empty = "no VM matches; Esc shows all" if self.filter_text else _NO_VMS
        listing.show(arrange(self.ui.world, self.filter_text, order))
        self._draw_detail()

    def _draw_detail(self) -> None:
        detail = self.query_one(Detail)
        if detail.display:
            detail.show(self.ui.world, self.chosen, self.ui.tones)

    def on_resize(self) -> None:
        body = self.query_one("#body")
        body.set_class(self.size.width >= SIDE_BY_SIDE, "wide")

    def on_listing_moved(self) -> None:
        self._draw_detail()
        self.draw_bars()

    def on_listing_opened(self) -> None:
        self.action_zoom_in()

    # keys
    def keys(self) -> Sequence[Key]:
        shown = [key for key in VMS if self._works(key)]
        return [self._labelled(key) for key in (*shown, *SCREENS[1:], *EVERYWHERE)]

    def _works(self, key: Key) -> bool:
        """Whether the key would do something now."""
        if key.action in ("new", "filter", "sort", "zoom", "app.focus_next"):
            return True
        vm = self.chosen
        if vm is None:
            return False
        state = vm["state"]
        editable = state in actions.DELETE_VM.states
        return {
            "power": actions.power_act(vm) is not None,
            "restart": state in actions.RESTART_VM.states,
            "pause": actions.pause_act(vm) is not None,
            "kill": state in actions.KILL_VM.states,
            "delete": actions.delete_act(self.targets) is not None,
            "ssh": state in ("running", "starting"),
            "console": state in ("running", "starting"),
            "rename": editable,
            "clone": editable,
            "keep": editable,
            "edit": state in actions.REACHABLE,
            "nat": actions.nat_act(vm) is not None,
            "forward": state in actions.REACHABLE,
        }.get(key.action, True)

    def _labelled(self, key: Key) -> Key:
        vm = self.chosen
        if vm is None:
            return key
        act = {"power": actions.power_act, "pause": actions.pause_act, "nat": actions.nat_act}.get(
            key.action
        )
        meant = act(vm) if act else None
        return key._replace(label=meant.title) if meant else key

    # actions on VMs
    def action_power(self) -> None:
        vm = self.chosen
        self.ui.do(actions.power_act(vm) if vm else None, self.targets)

    def action_restart(self) -> None:
        self.ui.do(actions.RESTART_VM, self.targets)

    def action_pause(self) -> None:
        vm = self.chosen
        self.ui.do(actions.pause_act(vm) if vm else None, self.targets)

    def action_kill(self) -> None:
        self.ui.do(actions.KILL_VM, self.targets)

    def action_nat(self) -> None:
        vm = self.chosen
        self.ui.do(actions.nat_act(vm) if vm else None, self.targets)

    def action_delete(self) -> None:
        self.ui.do(actions.delete_act(self.targets), self.targets)

    def action_ssh(self) -> None:
        if self.chosen:
            self.ui.hand_over(["ssh", self.chosen["name"]])

    def action_console(self) -> None:
        if self.chosen:
            self.ui.hand_over(["console", self.chosen["name"]])

    def action_new(self) -> None:
        self.ui.open_create()

    def action_edit(self) -> None:
        if self.targets:
            self.ui.open_edit(self.targets)

    def action_rename(self) -> None:
        if self.chosen:
            self.ui.open_rename(self.chosen)

    def action_clone(self) -> None:
        if self.chosen:
            self.ui.open_clone(self.chosen)

    def action_keep(self) -> None:
        if self.chosen:
            self.ui.open_keep(self.chosen)

    def action_forward(self) -> None:
        if self.chosen:
            self.ui.open_forward(self.chosen)

    # the view
    def action_mark(self) -> None:
        self.listing.toggle_mark()
        self.draw_bars()

    def action_mark_all(self) -> None:
        listing = self.listing
        everything = set(listing.items)
        listing.marked = set() if listing.marked == everything else everything
        listing.refresh()
        self.draw_bars()

    def action_sort(self) -> None:
        self.order = (self.order + 1) % len(ORDERS)
        self.ui.say(f"sorted by {ORDERS[self.order]}")
        self.draw_body()

    def action_tab(self, number: int) -> None:
        if ZOOMS[self.zoom] == "list":
            self._zoom_to(0)
        self.query_one(Detail).choose(number - 1)

    def action_tab_by(self, steps: int) -> None:
        detail = self.query_one(Detail)
        detail.choose((detail.tab + steps) % len(TABS))

    def action_zoom(self) -> None:
        self._zoom_to((self.zoom + 1) % len(ZOOMS))

    def action_zoom_in(self) -> None:
        self._zoom_to(0 if ZOOMS[self.zoom] == "detail" else 1)

    def _zoom_to(self, zoom: int) -> None:
        self.zoom = zoom
        left, detail = self.query_one("#left"), self.query_one(Detail)
        left.display = ZOOMS[zoom] != "detail"
        detail.display = ZOOMS[zoom] != "list"
        (detail.page if ZOOMS[zoom] == "detail" else self.listing).focus()
        self._draw_detail()
        self.draw_bars()

    # the filter
    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def on_input_changed(self) -> None:
        self.draw_body()

    def on_input_submitted(self) -> None:
        self.query_one("#filter").display = bool(self.filter_text)
        self.listing.focus()

    def back(self) -> None:
        field = self.query_one("#filter", Input)
        if field.display:
            field.value = ""
            field.display = False
            self.listing.focus()
        elif self.listing.marked:
            self.listing.marked = set()
            self.listing.refresh()
            self.draw_bars()
        elif self.zoom:
            self._zoom_to(0)

    def help_keys(self) -> Sequence[tuple[str, Sequence[Key]]]:
        return (
            ("VMs", VMS),
            ("Tabs", HIDDEN_TABS),
            ("Moving", MOVING),
            ("Everywhere", (*SCREENS, *EVERYWHERE)),
        )
