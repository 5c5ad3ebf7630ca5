"""Turns an OpenSSH host key into the form that Dropbear, the small SSH server, reads (pure)."""

from __future__ import annotations

import base64
import binascii
import struct

#: What an unencrypted private key holds, from OpenSSH's ``PROTOCOL.key``.
_MAGIC = b"openssh-key-v1\0"
_KIND = b"ssh-ed25519"
#: Seed and public key, 32 bytes each, are stored as one string.
_PRIVATE_LENGTH = 64


def dropbear_key(openssh: str) -> bytes:
    """Dropbear's host key file: the kind and the 64 bytes of the private key, as two strings.

    ``openssh`` is the text of an ed25519 private key. Empty if it is none without a passphrase.
    """
    try:
        lines = [line for line in openssh.splitlines() if line and not line.startswith("-----")]
        data = base64.b64decode("".join(lines), validate=True)
        if not data.startswith(_MAGIC):
            return b""
        reader = _Reader(data[len(_MAGIC) :])
        cipher, _, _ = reader.string(), reader.string(), reader.string()
        (count,) = struct.unpack(">I", reader.take(4))
        if cipher != b"none" or count != 1:
            return b""
        reader.string()
        private = _Reader(reader.string())
        private.take(8)
        kind, _, secret = private.string(), private.string(), private.string()
    except (binascii.Error, ValueError, struct.error):
        return b""
    if kind != _KIND or len(secret) != _PRIVATE_LENGTH:
        return b""
    return _string(_KIND) + _string(secret)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


class _Reader:
    """Reads SSH's length-prefixed strings. Raises ``ValueError`` at the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, length: int) -> bytes:
        if length > len(self._data):
            raise ValueError("the key is cut short")
        taken, self._data = self._data[:length], self._data[length:]
        return taken

    def string(self) -> bytes:
        return self.take(struct.unpack(">I", self.take(4))[0])
