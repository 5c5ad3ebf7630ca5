"""The last lines of a console log, made safe to show."""

from __future__ import annotations

import re
from pathlib import Path

#: Control characters but newline and tab, and terminal sequences (ECMA-48 CSI and OSC).
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def clean(text: str) -> str:
    """Guest text without anything that a terminal would act on."""
    return _SEQUENCES.sub("", text)


def console_tail(path: Path, lines: int = 20) -> str:
    """The last ``lines`` lines, empty if there is no log."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 16384))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(clean(text).splitlines()[-lines:])
