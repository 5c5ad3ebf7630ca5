"""Builds a kernel of a few hundred bytes that speaks on the serial port: the smallest real guest.

It is an x86-64 ELF file with the PVH entry note, so ``qemu-system-x86_64 -M microvm -kernel``
enters it directly, in milliseconds, under software emulation and KVM alike. The code never
leaves the 32-bit protected mode in which PVH enters it, and needs no memory beside its own.
"""

from __future__ import annotations

import struct
from typing import Literal

#: What the guest does after its message. ``halt`` sleeps for ever with interrupts off (no CPU
#: time), ``reset`` resets the machine by a triple fault, ``poweroff`` and ``reboot`` use the
#: ACPI sleep and reset registers of the ``microvm`` machine, ``echo`` sends back each byte
#: it gets until a ``q`` powers it off, ``flood`` repeats the message without end.
Then = Literal["halt", "reset", "poweroff", "reboot", "echo", "flood"]

#: Physical load address: 16 MiB, clear of firmware and start-up tables.
_BASE = 0x1000000
#: Where the code lies in the file.
_OFFSET = 0x1000

_COM1 = 0x3F8
#: Line status register of a 16550: bit 0 "a byte has come", bit 5 "ready to send".
_COM1_STATUS = _COM1 + 5
#: The sleep control register of the generic event device on QEMU's microvm machine, and its
#: reset register two bytes on.
_SLEEP_CONTROL = 0xFEA00200
_RESET = _SLEEP_CONTROL + 2

#: Owner "Xen", type 18: XEN_ELFNOTE_PHYS32_ENTRY of the PVH boot protocol.
_NOTE_TYPE = 18

_HALT = b"\xfa\xf4\xeb\xfd"  # cli; 1: hlt; jmp 1b


def tiny_guest(message: bytes, then: Then = "halt") -> bytes:
    """The bytes of an ELF file that prints ``message`` on COM1 (0x3f8) and then does ``then``.

    ``message`` must not hold a zero byte.
    """
    if b"\0" in message:
        raise ValueError("the message of a tiny guest must not hold a zero byte")
    # The length of the code does not depend on the addresses in it, so render it twice.
    size = len(_code(then, _BASE))
    code = _code(then, _BASE + size) + message + b"\0"
    note = struct.pack("<III4sQ", 4, 8, _NOTE_TYPE, b"Xen\0", _BASE)
    headers_end = 64 + 2 * 56
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 7, _OFFSET, _BASE, _BASE, len(code), len(code), 0x1000)
    notes = struct.pack(
        "<IIQQQQQQ", 4, 4, headers_end, headers_end, headers_end, len(note), len(note), 4
    )
    return (ident + header + load + notes + note).ljust(_OFFSET, b"\0") + code


def _code(then: Then, message: int) -> bytes:
    send = _send()
    end = b"\x84\xc0\x74" + _offset(len(send) + 2)  # test al, al; jz past the loop
    loop = b"\xac" + end + send  # lodsb; ...
    say = b"\xbe" + struct.pack("<I", message) + _forever(loop)  # mov esi, message
    match then:
        case "halt":
            return say + _HALT
        case "reset":
            # An empty interrupt table turns the next exception into a triple fault. Its
            # description, six zero bytes, lies between the code and the message.
            table = b"\x0f\x01\x1d" + struct.pack("<I", message - 6)  # lidt [message - 6]
            return say + table + b"\x0f\x0b" + _HALT + bytes(6)  # ud2
        case "poweroff":
            # Sleep type 5 (soft off) in bits 2 to 4, "enter" in bit 5.
            return say + _store(_SLEEP_CONTROL, 0x34) + _HALT
        case "reboot":
            return say + _store(_RESET, 0x42) + _HALT
        case "echo":
            wait = b"\x66\xba" + struct.pack("<H", _COM1_STATUS) + b"\xec\xa8\x01\x74\xfb"
            get = b"\x66\xba" + struct.pack("<H", _COM1) + b"\xec"
            leave = b"\x3c\x71\x74" + _offset(len(send) + 2)  # cmp al, 'q'; jz past the loop
            return say + _forever(wait + get + leave + send) + _store(_SLEEP_CONTROL, 0x34) + _HALT
        case "flood":
            return _forever(say)


def _offset(distance: int) -> bytes:
    return struct.pack("<b", distance)


def _forever(body: bytes) -> bytes:
    return body + b"\xeb" + _offset(-len(body) - 2)  # jmp to its start


def _store(address: int, value: int) -> bytes:
    """``mov byte [address], value``."""
    return b"\xc6\x05" + struct.pack("<IB", address, value)


def _send() -> bytes:
    """Send the byte in AL once the port is ready."""
    return (
        b"\x88\xc4"  # mov ah, al
        b"\x66\xba"
        + struct.pack("<H", _COM1_STATUS)  # mov dx, status
        + b"\xec\xa8\x20\x74\xfb"  # 1: in al, dx; test al, 32; jz 1b
        + b"\x88\xe0"  # mov al, ah
        + b"\x66\xba"
        + struct.pack("<H", _COM1)  # mov dx, data
        + b"\xee"  # out dx, al
    )
