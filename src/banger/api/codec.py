"""Bodies <-> JSON, strict about unknown, missing and out-of-range fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from banger.api.problems import Refusal
from banger.api.routes import JSON, MAX_BODY
from banger.errors import InvalidInput

_T = TypeVar("_T")
_PLACE = re.compile(r" - at `(?:\$\.?)?(.*)`$")
_RESOLUTION = "compare the request with /openapi.json"
_ENCODER = msgspec.json.Encoder()

encode = _ENCODER.encode


def decode(data: bytes, body_type: type[_T]) -> _T:
    """The body that ``data`` holds.

    Raises a 400 ``Refusal`` for what is no JSON, a 422 one that names the field for what is
    JSON and yet not such a body.
    """
    try:
        try:
            return msgspec.json.decode(data, type=body_type)
        except msgspec.ValidationError:
            # JSON knows one kind of number: 2.0 is an integer too.
            return msgspec.convert(_with_integers(msgspec.json.decode(data)), body_type)
    except msgspec.ValidationError as error:
        raise unacceptable(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(
            400,
            InvalidInput(
                "the request body is not JSON",
                cause=str(error) or type(error).__name__,
                resolution=_RESOLUTION,
            ),
        ) from None


def _with_integers(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_integers(item) for key, item in value.items()}
    return value


def unacceptable(message: str) -> Refusal:
    """The 422 refusal for a validation message, with the field named in the brief."""
    place = _PLACE.search(message)
    field = place.group(1) if place else ""
    cause = message[: place.start()] if place else message
    brief = f"the value of {field} is not acceptable" if field else "the body is not acceptable"
    return Refusal(422, InvalidInput(brief, cause=cause, resolution=_RESOLUTION))


def check_media_type(value: str, wanted: str = JSON) -> None:
    """Raise a 415 ``Refusal`` unless a Content-Type header names ``wanted``."""
    if value.partition(";")[0].strip().lower() != wanted:
        raise Refusal(
            415,
            InvalidInput(
                f"a body of type {value or '(none)'} is not understood here",
                cause=f"this resource takes {wanted}",
                resolution=f"send the header 'Content-Type: {wanted}'",
            ),
        )


def too_large() -> Refusal:
    """The 413 refusal."""
    return Refusal(
        413,
        InvalidInput(
            "the request body is too large",
            cause=f"at most {MAX_BODY} bytes are read",
            resolution=_RESOLUTION,
        ),
        {"Connection": "close"},
    )


def flag(query: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    """A true/false query parameter. Raises ``InvalidInput``."""
    value = query.get(name)
    if value is None:
        return default
    if value not in {"true", "false"}:
        raise bad_parameter(name, value, "it is true or false")
    return value == "true"


def number(query: Mapping[str, str], name: str, low: float, high: float) -> float:
    """A query parameter between two bounds, ``low`` if absent. Raises ``InvalidInput``."""
    value = query.get(name)
    if value is None:
        return low
    # float() would also take "nan", "1_000", blanks and the digits of other scripts.
    if not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", value, re.ASCII) or not (
        low <= float(value) <= high
    ):
        raise bad_parameter(name, value, f"it is a number from {low:g} to {high:g}")
    return float(value)


def whole_number(query: Mapping[str, str], name: str, high: int) -> int:
    """A query parameter from 0 to ``high``, 0 if absent. Raises ``InvalidInput``."""
    value = query.get(name)
    if value is None:
        return 0
    if not re.fullmatch(r"[0-9]{1,18}", value, re.ASCII) or int(value) > high:
        raise bad_parameter(name, value, f"it is a whole number from 0 to {high}")
    return int(value)


def bad_parameter(name: str, value: str, cause: str) -> InvalidInput:
    """The error for a query parameter or header that cannot be used."""
    return InvalidInput(
        f"{name}={value[:80]!r} is not acceptable", cause=cause, resolution=_RESOLUTION
    )
