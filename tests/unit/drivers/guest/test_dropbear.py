"""Dropbear reads the host key that OpenSSH made; anything else gives it none."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

from banger.drivers.guest.dropbear import dropbear_key
from banger.drivers.guest.keys import ensure_key
from tests.requirements import needs


@needs("ssh")
def test_a_real_key(tmp_path: Path) -> None:
    public = ensure_key(tmp_path / "key", "x").split()[1]
    key = dropbear_key((tmp_path / "key").read_text())
    length = struct.unpack(">I", key[:4])[0]
    assert key[4 : 4 + length] == b"ssh-ed25519"
    (size,) = struct.unpack(">I", key[4 + length : 8 + length])
    secret = key[8 + length :]
    assert len(secret) == size == 64
    # Its second half is the public key, which OpenSSH's line ends with.
    assert base64.b64decode(public).endswith(secret[32:])


def test_no_key() -> None:
    for text in ("", "private key", "-----BEGIN X-----\n!!\n-----END X-----\n", "b3BlbnNzaA=="):
        assert dropbear_key(text) == b""
