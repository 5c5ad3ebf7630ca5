"""The app as its screens see it: the world, the colours, and the way to other screens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from banger.tui.image_forms import ImageForms
from banger.tui.keys import Key
from banger.tui.themes import Tones, following


class Shell(ImageForms):
    """The part of the app that changes what is on the screen."""

    tones: Tones
    #: Gives Unix time.
    now: Callable[[], float]

    def colours_changed(self) -> None:
        """Have every screen drawn in the present colours."""
        raise NotImplementedError

    def go(self, name: str) -> None:
        """Show another of the screens."""
        from banger.tui.screens.base import WorldScreen
        from banger.tui.screens.images import ImageScreen
        from banger.tui.screens.operations import OperationScreen

        kinds: dict[str, type[WorldScreen]] = {"images": ImageScreen, "operations": OperationScreen}
        while len(self.screen_stack) > 1:
            self.pop_screen()
        if name in kinds:
            self.push_screen(kinds[name]())

    def next_theme(self) -> None:
        """Change the colours."""
        self.theme = following(self.theme)
        self.tones = Tones(self.theme)
        self.colours_changed()

    def open_help(self, groups: Sequence[tuple[str, Sequence[Key]]]) -> None:
        from banger.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(groups, self.tones))
