"""What all screens share: totals above; what goes on, the last failure and the keys below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.screen import Screen

from banger.tui.bars import Keys, Line, failure_text, header, status
from banger.tui.keys import Key
from banger.tui.listing import Listing
from banger.tui.shell import Shell


class WorldScreen(Screen[None]):
    """``world_changed`` is called after news, and may draw everything again."""

    #: What the header calls the screen.
    WHERE = ""
    #: The keys of its own.
    KEYS: ClassVar[Sequence[Key]] = ()
    #: Whether its widgets are there.
    _ready = False

    def where(self) -> str:
        """What the header calls the place."""
        return self.WHERE

    @property
    def ui(self) -> Shell:
        """The app, with its type."""
        return cast("Shell", self.app)

    @property
    def listing(self) -> Listing:
        return self.query_one(Listing)

    def compose_body(self) -> ComposeResult:
        """The widgets between the header and the lines below."""
        raise NotImplementedError

    def keys(self) -> Sequence[Key]:
        """The keys that work now, for the footer."""
        raise NotImplementedError

    def draw_body(self) -> None:
        """Draw the body as the world is now."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield Line(id="header")
        yield from self.compose_body()
        yield Line(id="failure")
        yield Line(id="status")
        yield Keys(id="keys")

    def on_mount(self) -> None:
        self._ready = True
        self.query_one("#failure").display = False
        self.listing.use_tones(self.ui.tones)
        self.listing.focus()
        self.world_changed()

    def on_screen_resume(self) -> None:
        self.world_changed()

    def on_resize(self) -> None:
        self.world_changed()

    def theme_changed(self) -> None:
        self.listing.use_tones(self.ui.tones)
        self.world_changed()

    def world_changed(self) -> None:
        """Draw everything that may have changed."""
        if self._ready:
            self.draw_body()
            self.draw_bars()

    def draw_bars(self) -> None:
        """Draw the lines above and below."""
        ui, columns = self.ui, self.size.width
        self.query_one("#header", Line).show(
            header(ui.world, ui.tones, self.where(), columns, read_only=ui.read_only)
        )
        running = ui.world.running_operations()
        self.query_one("#status", Line).show(
            status(running, ui.said, ui.command, ui.tones, columns)
        )
        box = self.query_one("#failure", Line)
        trouble = ui.trouble()
        if trouble is not None:
            box.show(failure_text(trouble[0], ui.tones, trouble[1]))
            lines = box.text.plain.count("\n") + 1
            box.styles.height = lines + 1
        if box.display != (trouble is not None):
            box.display = trouble is not None
        keys = [key for key in self.keys() if key.label and not (ui.read_only and key.changes)]
        self.query_one(Keys).show(keys, ui.tones)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where nothing may be changed, the screen's own keys that would do nothing."""
        if self.ui.read_only and action in {key.action for key in self.KEYS if key.changes}:
            return False
        return super().check_action(action, parameters)

    # moving, the same on every screen
    def action_move(self, steps: int) -> None:
        focused = self.focused
        if focused is None or focused is self.listing:
            self.listing.move(steps)
        else:
            focused.scroll_relative(y=steps, animate=False)

    def action_move_page(self, pages: int) -> None:
        focused = self.focused
        if focused is None or focused is self.listing:
            self.listing.move(pages * self.listing.page())
        else:
            focused.scroll_relative(y=pages * focused.size.height, animate=False)

    def action_move_end(self, direction: int) -> None:
        focused = self.focused
        if focused is None or focused is self.listing:
            self.listing.move_to(0 if direction < 0 else len(self.listing.items) - 1)
        elif direction < 0:
            focused.scroll_home(animate=False)
        else:
            focused.scroll_end(animate=False)

    def action_go(self, name: str) -> None:
        self.ui.go(name)

    def action_palette(self) -> None:
        self.ui.open_palette()

    def action_help(self) -> None:
        self.ui.open_help(self.help_keys())

    def action_next_theme(self) -> None:
        self.ui.next_theme()

    def action_copy(self) -> None:
        self.ui.copy_shown()

    def action_quit(self) -> None:
        self.ui.exit()

    def action_back(self) -> None:
        """Esc: close the failure, else what the screen itself has open, else go to the VMs."""
        if self.ui.trouble() is not None and self.ui.forget_trouble():
            self.draw_bars()
        else:
            self.back()

    def back(self) -> None:
        """What Esc closes on this screen when no failure is shown."""
        self.ui.go("vms")

    def help_keys(self) -> Sequence[tuple[str, Sequence[Key]]]:
        """Titled groups of keys, for the help."""
        raise NotImplementedError
