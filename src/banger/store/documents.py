"""Model objects to JSON text and back, for the columns that are never searched."""

from __future__ import annotations

from typing import TypeVar

import msgspec

_T = TypeVar("_T")


def dump(value: object) -> str:
    """JSON text of a model object or of plain data."""
    return msgspec.json.encode(value).decode()


def load(text: str, kind: type[_T]) -> _T:
    """The object back; unknown fields are ignored, so that a newer row stays readable.

    Raises ``msgspec.ValidationError`` if the text does not fit.
    """
    return msgspec.json.decode(text.encode(), type=kind)
