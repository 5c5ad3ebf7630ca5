"""Reads the API's times and shows them as ages."""

from __future__ import annotations

import time
from datetime import datetime

from banger.cli.units import format_age


def unix_time(text: str | None) -> float:
    """Seconds since 1970 of an RFC 3339 time; 0 where there is none."""
    if not text:
        return 0.0
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def age(text: str | None, now: float | None = None) -> str:
    """How long ago ``text`` was, or ``-``."""
    moment = unix_time(text)
    if not moment:
        return "-"
    return format_age((time.time() if now is None else now) - moment)
