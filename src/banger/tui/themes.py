"""The colours: dark, light and high contrast; and what each tone of a text is in them."""

from __future__ import annotations

from collections.abc import Mapping

from rich.style import Style
from textual.theme import Theme

DARK = Theme(
    name="dark", dark=True, primary="#5fafff", secondary="#87afd7", accent="#5fd7d7",
    foreground="#d8dee9", background="#11151c", surface="#171c25", panel="#202734",
    success="#7fd77f", warning="#f0c674", error="#ff7b72",
    variables={"dim": "#8a94a6", "busy": "#79c0ff", "cursor": "#27415f", "mark": "#f0c674"},
)  # fmt: skip
LIGHT = Theme(
    name="light", dark=False, primary="#0550ae", secondary="#0969da", accent="#066e6e",
    foreground="#1f2328", background="#ffffff", surface="#f6f8fa", panel="#e4e9ef",
    success="#116329", warning="#7d4e00", error="#b3121d",
    variables={"dim": "#59636e", "busy": "#0550ae", "cursor": "#cfe3fb", "mark": "#7d4e00"},
)  # fmt: skip
CONTRAST = Theme(
    name="contrast", dark=True, primary="#ffff00", secondary="#00ffff", accent="#00ffff",
    foreground="#ffffff", background="#000000", surface="#000000", panel="#000000",
    success="#00ff00", warning="#ffff00", error="#ff6060",
    variables={"dim": "#d0d0d0", "busy": "#00ffff", "cursor": "#0000d0", "mark": "#ffff00"},
)  # fmt: skip
THEMES = (DARK, LIGHT, CONTRAST)
NAMES = tuple(theme.name for theme in THEMES)

#: Tone -> the theme's colour; "" is the ordinary text.
_TONES = {
    "good": "success", "warn": "warning", "bad": "error", "dim": "dim", "busy": "busy",
    "key": "primary", "title": "accent", "mark": "mark",
}  # fmt: skip
_BOLD = ("bad", "key", "mark", "title")


class Tones:
    """The styles of the theme ``name``: ``tones["bad"]``."""

    def __init__(self, name: str) -> None:
        theme = THEMES[NAMES.index(name)]
        variables: Mapping[str, str] = vars(theme) | theme.variables
        self._styles = {
            tone: Style(color=variables[name], bold=tone in _BOLD) for tone, name in _TONES.items()
        }
        self._styles[""] = Style()
        self.cursor = Style(bgcolor=variables["cursor"], bold=True)
        self.faint_cursor = Style(bgcolor=variables["panel"])

    def __getitem__(self, tone: str) -> Style:
        return self._styles[tone]


def following(name: str) -> str:
    """The theme after ``name``."""
    return NAMES[(NAMES.index(name) + 1) % len(NAMES)] if name in NAMES else NAMES[0]
