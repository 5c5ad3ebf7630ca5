"""Option values that are checked where they are read, before anything is made."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from banger.cli.units import GIB, MIB, format_size, parse_duration, parse_size
from banger.errors import InvalidInput

#: The limits of ``banger.model.vm``, repeated because the model's classes are slow to import;
#: a test compares the two.
MAX_VCPUS = 16
MIN_MEMORY_MIB = 64
MAX_MEMORY_MIB = 32768
MIN_DISK_BYTES = 64 * MIB
MAX_DISK_BYTES = 2048 * GIB
MAX_SECONDS = 3600


class Checked(click.ParamType[Any]):
    """A value converted by a function that raises ``InvalidInput`` with its three lines."""

    def __init__(self, name: str, check: Callable[[str, str], Any]):
        self.name = name
        self._check = check

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        if not isinstance(value, str):
            return value
        flag = self.name
        if param is not None:
            # The first long form: the one that the documentation uses.
            flag = next((name for name in param.opts if name.startswith("--")), param.opts[0])
        try:
            return self._check(flag, value)
        except InvalidInput as error:
            if ctx is not None and error.resolution.startswith("-"):
                error.resolution = f"{ctx.command_path} {error.resolution}"
            raise


def _name(_: str, text: str) -> str:
    from banger.naming import check_name  # it loads cryptography for the names of other things

    return check_name(text)


def _image_name(_: str, text: str) -> str:
    from banger.naming import check_name

    return check_name(text, "image")


def _vcpus(flag: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MAX_VCPUS):
        raise InvalidInput(
            f"{flag} {text} is not possible",
            cause=f"a VM has 1 to {MAX_VCPUS} virtual CPUs",
            resolution=f"{flag} 2",
        )
    return int(text)


def _size(flag: str, text: str, unit: int) -> int:
    try:
        return parse_size(text, unit)
    except ValueError as error:
        raise InvalidInput(
            f"{flag} {text!r} is not a size", cause=str(error), resolution=f"{flag} 2G"
        ) from None


def _memory(flag: str, text: str) -> int:
    size = _size(flag, text, MIB)
    if size % MIB or not MIN_MEMORY_MIB * MIB <= size <= MAX_MEMORY_MIB * MIB:
        raise InvalidInput(
            f"{flag} {text} is not possible",
            cause=f"a VM has {MIN_MEMORY_MIB} to {MAX_MEMORY_MIB} MiB of memory, in whole MiB",
            resolution=f"{flag} 1G",
        )
    return size // MIB


def _disk(flag: str, text: str) -> int:
    size = _size(flag, text, MIB)
    if not MIN_DISK_BYTES <= size <= MAX_DISK_BYTES:
        raise InvalidInput(
            f"{flag} {text} is not possible",
            cause=f"a disk has {format_size(MIN_DISK_BYTES)} to {format_size(MAX_DISK_BYTES)}"
            " (a number without a unit is MiB)",
            resolution=f"{flag} 8G",
        )
    # Disks are made of 4 KiB blocks.
    return -(-size // 4096) * 4096


def _timeout(flag: str, text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InvalidInput(
            f"{flag} {text!r} is not a duration", cause=str(error), resolution=f"{flag} 60"
        ) from None
    if seconds > MAX_SECONDS:
        raise InvalidInput(
            f"{flag} {text} is too long", cause="at most one hour", resolution=f"{flag} 10m"
        )
    return seconds


def _existing_file(flag: str, text: str) -> str:
    path = os.path.abspath(os.path.expanduser(text))  # noqa: PTH100,PTH111 - the text is kept
    cause = ""
    try:
        # Opening tells more than asking: it also follows permissions of the folders above.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", "") or str(error)
    else:
        if not os.path.isfile(path):  # noqa: PTH113 - the text is kept
            cause = "it is not a file"
        elif os.fstat(descriptor).st_size == 0:
            cause = "the file is empty"
        os.close(descriptor)
    if cause:
        raise InvalidInput(
            f"{flag} {text} cannot be used",
            cause=cause,
            resolution=f"ls -l {text}",
        )
    return path


def _existing_folder(flag: str, text: str) -> str:
    path = os.path.abspath(os.path.expanduser(text))  # noqa: PTH100,PTH111 - the text is kept
    cause = ""
    try:
        os.listdir(path)  # noqa: PTH208 - the text is kept
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", "") or str(error)
    if cause:
        raise InvalidInput(
            f"{flag} {text} cannot be used", cause=cause, resolution=f"ls -ld {text}"
        )
    return path


VM_NAME = Checked("name", _name)
IMAGE_NAME = Checked("name", _image_name)
VCPUS = Checked("number", _vcpus)
MEMORY = Checked("size", _memory)
DISK_SIZE = Checked("size", _disk)
DURATION = Checked("duration", _timeout)
EXISTING_FILE = Checked("file", _existing_file)
EXISTING_FOLDER = Checked("folder", _existing_folder)
