"""Reads the files that are copied into guests (the folder ``guest_files``)."""

from __future__ import annotations

import functools
import importlib.util
import marshal
import struct
import sys
from importlib.resources import files

#: "The source's hash is given, and need not be checked" (PEP 552).
_UNCHECKED = 0b01


def guest_file(name: str) -> bytes:
    """The content of one file of the folder ``guest_files``."""
    return files("banger").joinpath("guest_files", name).read_bytes()


@functools.cache
def compiled(name: str) -> tuple[str, bytes]:
    """A module of ``guest_files`` as this Python would cache it: name in ``__pycache__``, content.

    A guest whose Python is of the same version starts without compiling, which under software
    emulation takes half a second; any other one does not look at the file.
    """
    source = guest_file(name)
    stem = name.rpartition("/")[2].removesuffix(".py")
    code = compile(source, f"/run/banger/{name}", "exec", dont_inherit=True, optimize=0)
    header = importlib.util.MAGIC_NUMBER + struct.pack("<I", _UNCHECKED)
    content = header + importlib.util.source_hash(source) + marshal.dumps(code)
    return f"{stem}.{sys.implementation.cache_tag}.pyc", content
