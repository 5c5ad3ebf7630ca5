"""SVG pictures of the screen, without what names other hosts or asks them for fonts."""

from __future__ import annotations

import re

_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_ORIGIN = re.compile(r"<!--.*?-->\s*", re.DOTALL)


def self_contained(svg: str) -> str:
    """The picture that Rich exports, with the reader's own monospace font."""
    return _ORIGIN.sub("", _FONTS.sub("", svg)).replace("Fira Code, monospace", "monospace")
