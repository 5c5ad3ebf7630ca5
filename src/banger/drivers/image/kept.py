"""Puts into a finished image what its tree could not hold: device nodes, some attributes.

The tree is made by an ordinary user's rights, which make no devices and no attributes that only
root may set; ``debugfs`` writes them into the new file system, which is ours and sound.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from banger.drivers.image.ext4.extract import Kept
from banger.drivers.image.overlay import EPOCH
from banger.errors import CommandFailed, InvalidInput
from banger.host.command import Command, run
from banger.host.ext_files import complaint, memory_file

_TIMEOUT = 300.0
_TITLE = re.compile(rb"[A-Za-z0-9_.:@-]+")
#: What debugfs takes between quotes as it is.
_UNQUOTABLE = frozenset(b'"\n\r\0')


def parse(text: bytes) -> list[Kept]:
    """What ``inside extract`` printed."""
    return msgspec.json.decode(text, type=list[Kept])


def script(kept: Sequence[Kept], value_of: dict[str, str]) -> list[str]:
    """Lines for debugfs. ``value_of``: a value in hexadecimal -> a file that holds it."""
    lines = []
    for item in kept:
        path = bytes.fromhex(item["path"])
        folder, _, name = path.rpartition(b"/")
        if item["kind"] != "x":
            lines += [
                f"cd {_quoted(folder or b'/')}",
                f"mknod {_quoted(name)} {item['kind']} {item['major']} {item['minor']}",
                f"sif {_quoted(name)} mode 0{item['mode']:o}",
                f"sif {_quoted(name)} uid {item['uid']}",
                f"sif {_quoted(name)} gid {item['gid']}",
                f"sif {_quoted(name)} mtime @{item['mtime']}",
            ]
        for attribute, value in item["attributes"].items():
            title = bytes.fromhex(attribute)
            if not _TITLE.fullmatch(title):
                raise _odd(title)
            lines.append(f"ea_set -f {value_of[value]} {_quoted(path)} {title.decode()}")
    return lines


async def put_back(prefix: tuple[str, ...], image: Path, opened: int, kept: Sequence[Kept]) -> None:
    """Write them into ``image``, which is open as ``opened``; ``prefix`` enters the namespace.

    Raises ``CommandFailed`` for what debugfs refuses, ``InvalidInput`` for names it cannot take.
    """
    if not kept:
        return
    with contextlib.ExitStack() as stack:
        value_of, descriptors = {}, [opened]
        for value in sorted({value for item in kept for value in item["attributes"].values()}):
            descriptor = await memory_file("attribute", bytes.fromhex(value))
            stack.callback(os.close, descriptor)
            value_of[value] = f"/proc/self/fd/{descriptor}"
            descriptors.append(descriptor)
        lines = "".join(f"{line}\n" for line in script(kept, value_of))
        done = await run(
            Command(
                (*prefix, "debugfs", "-w", "-f", "-", f"/proc/self/fd/{opened}"),
                stdin=lines.encode("utf-8", "surrogateescape"),
                env={"E2FSPROGS_FAKE_TIME": str(EPOCH)},
                timeout=_TIMEOUT,
                package="e2fsprogs",
                descriptors=tuple(descriptors),
            )
        )
    if problem := complaint(done.stderr.decode(errors="replace")):
        raise CommandFailed(
            f"not all of the base could be kept in {image.name}",
            cause=f"debugfs: {problem}",
            resolution="banger operation list",
        )


def _quoted(name: bytes) -> str:
    if _UNQUOTABLE.intersection(name):
        raise _odd(name)
    return f'"{name.decode("utf-8", "surrogateescape")}"'


def _odd(name: bytes) -> InvalidInput:
    return InvalidInput(
        "the base cannot be kept as it is",
        cause=f"a device, or an attribute of a file, has an odd name: {name!r:.200}",
        resolution="give it another name in the base",
    )
