"""Messages as text: JSON by the C code that Python's json module is built on.

Importing ``json`` costs a third of the agent's start (it brings ``re`` and ``enum``), and under
software emulation that is a third of a second. Where these inner parts differ, ``json`` it is.
"""

from __future__ import annotations

from _collections_abc import Callable


class _Settings:
    """What the scanner asks of its owner: plain JSON, nothing special."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def _parts() -> tuple[Callable[[dict[str, object]], str], Callable[[str], object]]:
    inner = __import__("_json")
    encoder = inner.make_encoder(
        None, None, inner.encode_basestring_ascii, None, ": ", ", ", False, False, False
    )
    scanner = inner.make_scanner(_Settings)

    def encode(message: dict[str, object]) -> str:
        return "".join(encoder(message, 0))

    def decode(line: str) -> object:
        try:
            value, end = scanner(line, 0)
        except StopIteration:
            raise ValueError("no JSON") from None
        if line[end:].strip():
            raise ValueError("more than JSON")
        return value

    sample: dict[str, object] = {"a": [1, -2.5, "\u00e4\n"], "b": None, "c": {"d": True}}
    if decode(encode(sample)) != sample:
        raise ValueError("unexpected result")
    return encode, decode


try:
    encode, decode = _parts()
except (ImportError, AttributeError, TypeError, ValueError):
    json = __import__("json")
    encode, decode = json.dumps, json.loads
