"""Finds the host's busybox and checks that it runs where there is no library."""

from __future__ import annotations

from pathlib import Path

from banger.errors import HostNotReady
from banger.host.command import as_root, find_program
from banger.host.files import explained
from banger.host.finding import Check, Status

_PACKAGE = "busybox-static"
_ELF64 = b"\x7fELF\x02"
#: The type of an ELF program header that names a dynamic linker.
_PT_INTERP = b"\x03\0\0\0"


def static_busybox() -> Path:
    """The host's busybox, which runs in any guest because it needs no library there (blocking).

    Raises ``HostNotReady`` where there is none, or only one that needs libraries.
    """
    path = find_program("busybox", _PACKAGE)
    with explained(f"read {path}"):
        content = path.read_bytes()
    if not content.startswith(_ELF64) or _is_dynamic(content):
        raise HostNotReady(
            "the busybox of this host cannot be given to a guest",
            cause=f"{path} is not a static program",
            resolution=as_root(f"apt-get install {_PACKAGE}"),
        )
    return path


def busybox_check() -> Check:
    """Whether guests can be started whose initrd is not ours."""
    try:
        status, found, mend = Status.OK, str(static_busybox()), ""
    except HostNotReady as error:
        status, mend = Status.WARN, as_root(f"apt-get install {_PACKAGE}")
        found = "not a static program" if "static" in error.cause else "not installed"
    purpose = "gives a guest its identity where the initrd is not banger's"
    return Check("busybox", purpose, status, found, mend, "--kernel, --initrd of your own")


def _is_dynamic(elf: bytes) -> bool:
    start = int.from_bytes(elf[32:40], "little")
    size, count = (int.from_bytes(elf[at : at + 2], "little") for at in (54, 56))
    return any(elf[start + n * size :][:4] == _PT_INTERP for n in range(count))
