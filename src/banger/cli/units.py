"""Parses and prints sizes, durations and ages (pure)."""

from __future__ import annotations

import re

MIB = 1024**2
GIB = 1024**3

_SIZE = re.compile(r"(\d{1,12})(?:\.(\d{1,6}))?\s*([kmgt]?)(i?b)?\Z", re.IGNORECASE | re.ASCII)
_FACTORS = {"k": 1024, "m": MIB, "g": GIB, "t": 1024**4}
_DURATION = re.compile(r"(\d{1,9})(?:\.(\d{1,6}))?\s*(ms|s|m|h|)\Z", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def parse_size(text: str, unit: int = MIB) -> int:
    """The bytes of ``512``, ``512M``, ``2G``, ``2GiB`` or ``1.5G``; a bare number is in ``unit``.

    K, M, G and T are powers of 1024, as everywhere in banger. ``ValueError`` for anything else.
    """
    match = _SIZE.match(text.strip())
    if not match:
        raise ValueError("a size is a number with an optional unit, such as 512, 512M, 2G or 1.5G")
    whole, fraction, letter, byte = match.groups()
    if letter:
        factor = _FACTORS[letter.lower()]
    elif byte:
        if byte.lower() == "ib":
            raise ValueError("a size's unit is one of K, M, G and T, such as 512MiB")
        factor = 1
    else:
        factor = unit
    size = int(whole) * factor
    if fraction:
        part = int(fraction) * factor
        scale = 10 ** len(fraction)
        if part % scale and factor == 1:
            raise ValueError("a size is a whole number of bytes")
        size += part // scale
    return size


def parse_duration(text: str) -> float:
    """The seconds of ``30``, ``1.5s``, ``500ms``, ``2m`` or ``1h``; else ``ValueError``."""
    match = _DURATION.match(text.strip())
    if not match:
        raise ValueError("a duration is a number of seconds or has a unit: 30, 500ms, 2m, 1h")
    whole, fraction, unit = match.groups()
    return float(f"{whole}.{fraction or 0}") * _SECONDS[unit]


def format_size(size: int) -> str:
    """``size`` bytes for people, in powers of 1024: ``512 B``, ``1.5 GiB``, ``8 GiB``."""
    value = float(size)
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while abs(value) >= 1023.95 and len(units) > 1:
        value /= 1024
        del units[0]
    text = f"{value:.1f}".removesuffix(".0")
    return f"{text} {units[0]}"


def format_age(seconds: float) -> str:
    """A span for people, in its two largest units at most: ``8s``, ``5m``, ``3h12m``, ``12d``."""
    left = max(0, int(seconds))
    if left < 60:
        return f"{left}s"
    minutes, hours, days = left // 60, left // 3600, left // 86400
    if hours < 1:
        return f"{minutes}m"
    if days < 1:
        rest = minutes % 60
        return f"{hours}h{rest}m" if rest and hours < 10 else f"{hours}h"
    rest = hours % 24
    return f"{days}d{rest}h" if rest and days < 10 else f"{days}d"
