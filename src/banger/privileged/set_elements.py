"""Elements of nftables' sets between text and the bytes that the kernel keeps (pure)."""

from __future__ import annotations

import socket

from banger.privileged.frozen import Frozen

#: What each type takes in a key; within a key every part fills whole words of four bytes.
_WIDTHS = {"ifname": 16, "ether_addr": 6, "ipv4_addr": 4, "inet_proto": 1, "inet_service": 2}
_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
_NAMES = {number: name for name, number in _PROTOCOLS.items()}

#: The parts of a key, or of what a map leads to, as text.
Parts = tuple[str, ...]


class Form(Frozen):
    """What a set holds: the types of its keys and, for a map, of what they lead to."""

    key: Parts
    value: Parts = ()

    @property
    def text(self) -> str:
        """As nft writes it behind ``type``."""
        return " : ".join(" . ".join(types) for types in (self.key, self.value) if types)


def width(types: Parts) -> int:
    """The bytes of a key of these types."""
    return sum(_padded(_WIDTHS[kind]) for kind in types)


def encode(types: Parts, parts: Parts) -> bytes:
    """The bytes of a key whose ``parts`` are of these types."""
    return b"".join(_encoded(kind, part) for kind, part in zip(types, parts, strict=True))


def decode(types: Parts, data: bytes) -> Parts:
    """The parts of a key. Raises ``ValueError`` if it is not of these types."""
    # A key of a single part comes without the padding.
    data = data.ljust(width(types), b"\0")
    if len(data) != width(types):
        raise ValueError(f"a key of {len(data)} bytes")
    parts = []
    for kind in types:
        parts.append(_decoded(kind, data[: _WIDTHS[kind]]))
        data = data[_padded(_WIDTHS[kind]) :]
    return tuple(parts)


def written(types: Parts, parts: Parts) -> str:
    """The key as nft reads it."""
    each = zip(types, parts, strict=True)
    return " . ".join(f'"{part}"' if kind == "ifname" else part for kind, part in each)


def _padded(size: int) -> int:
    return size + -size % 4


def _encoded(kind: str, part: str) -> bytes:
    match kind:
        case "ifname":
            data = part.encode()
        case "ether_addr":
            data = bytes.fromhex(part.replace(":", ""))
        case "ipv4_addr":
            data = socket.inet_aton(part)
        case "inet_proto":
            data = bytes([_PROTOCOLS[part]])
        case _:
            data = int(part).to_bytes(2, "big")
    return data.ljust(_padded(_WIDTHS[kind]), b"\0")


def _decoded(kind: str, data: bytes) -> str:
    match kind:
        case "ifname":
            return data.split(b"\0")[0].decode()
        case "ether_addr":
            return data.hex(":")
        case "ipv4_addr":
            return socket.inet_ntoa(data)
        case "inet_proto":
            return _NAMES.get(data[0], str(data[0]))
        case _:
            return str(int.from_bytes(data, "big"))
