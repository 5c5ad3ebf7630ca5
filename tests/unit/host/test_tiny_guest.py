"""The tiny guest is a well-formed ELF file; that it runs is shown by the QEMU tests."""

from __future__ import annotations

import struct
from typing import get_args

import pytest

from banger.host.tiny_guest import Then, tiny_guest


@pytest.mark.parametrize("then", get_args(Then))
def test_it_has_a_pvh_note_that_points_into_its_only_segment(then: Then) -> None:
    elf = tiny_guest(b"hello\n", then)
    assert elf[:6] == b"\x7fELF\x02\x01"
    offset, address, size = (struct.unpack_from("<Q", elf, 64 + at)[0] for at in (8, 16, 32))
    assert offset + size == len(elf)
    note_at = struct.unpack_from("<Q", elf, 64 + 56 + 8)[0]
    *_, kind, owner, entry = struct.unpack_from("<III4sQ", elf, note_at)
    assert (kind, owner, entry) == (18, b"Xen\0", address)
    assert elf.endswith(b"hello\n\0")


def test_a_zero_byte_in_the_message_is_refused() -> None:
    with pytest.raises(ValueError, match="zero byte"):
        tiny_guest(b"a\0b")
