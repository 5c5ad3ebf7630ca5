"""Commands of the CLI from the screen: on the whole terminal, or with captured output."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence

from banger.tui.actions import command
from banger.tui.opening import Opening

#: Commands that need the terminal themselves.
ON_TERMINAL = ("ssh", "console", "exec", "run", "stats", "interactive")
#: Commands that change nothing, the only ones when read-only.
LOOKING = (
    "ls", "ps", "list", "show", "inspect", "logs", "events", "doctor", "version", "help", "status",
)  # fmt: skip
NOUNS = ("vm", "image", "nat", "operation", "op", "daemon", "system")
#: Exit statuses after which nobody needs to read anything.
_QUIET = (0, 130)
#: What ``banger ssh`` and ``exec`` end with when they themselves failed; others are the guest's.
_OWN_FAILURES = (125, 255)


def verb(words: Sequence[str]) -> str:
    """The word that says what is done: the second after a noun (pure)."""
    plain = [word for word in words if not word.startswith("-")]
    return plain[1] if plain[:1] and plain[0] in NOUNS and len(plain) > 1 else "".join(plain[:1])


class Commands(Opening):
    """The part of the app that runs ``banger`` itself."""

    read_only: bool

    def hand_over(self, words: Sequence[str]) -> None:
        """Give the terminal to ``banger WORDS`` and take it back when that ends."""
        from banger.client.child import run_in_terminal

        self.command = command(words)
        with self.suspend():
            began = time.monotonic()
            status = run_in_terminal(words)
            seconds = time.monotonic() - began
            own = verb(words) not in ("ssh", "exec") or status in _OWN_FAILURES
            if status not in _QUIET and own:
                _wait_for_enter(status)
        self.say(f"{command(words)} ended with status {status} after {seconds:.0f} s")
        self.refresh()

    def run_command(self, text: str) -> None:
        """Run what was typed in the palette."""
        try:
            words = shlex.split(text)
        except ValueError as error:
            self.say(f"✗ {error}")
            return
        words = words[1:] if words[:1] == ["banger"] else words
        if not words:
            return
        what = verb(words)
        if self.read_only and what not in LOOKING and "--help" not in words:
            self.say(f"✗ {what} is not possible: the screen is read-only")
        elif what == "tui":
            self.say("✗ this is banger tui")
        elif what in ON_TERMINAL:
            self.hand_over(words)
        else:
            from banger.tui.screens.output import OutputScreen

            self.command = command(words)
            self.push_screen(OutputScreen(words, self.tones))

    def open_palette(self) -> None:
        """Ask for a command."""
        from banger.tui.screens.palette import PaletteScreen

        def done(text: str | None) -> None:
            if text:
                self.run_command(text)

        self.push_screen(PaletteScreen(self.tones, self.typed), done)

    @property
    def typed(self) -> list[str]:
        """The commands typed so far, oldest first."""
        return self._typed


def _wait_for_enter(status: int) -> None:
    # The terminal is an ordinary one again, so this is an ordinary question.
    try:
        input(f"\nended with status {status}; Enter goes back to banger tui ")
    except (EOFError, KeyboardInterrupt):
        return
