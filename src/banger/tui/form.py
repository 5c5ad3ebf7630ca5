"""The fields of a form: each checked as one types, with its limits or why it is locked (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import click

from banger.cli.units import MIB, format_size
from banger.cli.values import (
    DISK_SIZE,
    MAX_DISK_BYTES,
    MAX_MEMORY_MIB,
    MAX_VCPUS,
    MEMORY,
    MIN_DISK_BYTES,
    MIN_MEMORY_MIB,
    VCPUS,
    VM_NAME,
)
from banger.errors import InvalidInput

CPU_LIMITS = f"1 to {MAX_VCPUS}"
MEMORY_LIMITS = f"{format_size(MIN_MEMORY_MIB * MIB)} to {format_size(MAX_MEMORY_MIB * MIB)}"
DISK_LIMITS = f"{format_size(MIN_DISK_BYTES)} to {format_size(MAX_DISK_BYTES)}"
NAME_LIMITS = "a-z, 0-9 and '-', at most 64"


YES_NO = ("no", "yes")


class Field(NamedTuple):
    """``option`` is the command's; with ``choices`` one of them is taken, else text is typed.

    ``check`` gives the value of the text or raises ``InvalidInput``; an empty text is allowed
    where ``needed`` is False, and means that nothing is sent. ``locked`` says why it is fixed.
    """

    key: str
    title: str
    value: str = ""
    limits: str = ""
    option: str = ""
    check: Callable[[str], Any] = str
    choices: tuple[str, ...] = ()
    needed: bool = True
    locked: str = ""


def checked(kind: click.ParamType[Any]) -> Callable[[str], Any]:
    """The check of a command line's option."""
    return lambda text: kind.convert(text, None, None)


def name_field(value: str, taken: Sequence[str], *, title: str = "name", option: str = "") -> Field:
    """The name of a VM, which must be free."""

    def check(text: str) -> str:
        name: str = VM_NAME.convert(text, None, None)
        if name in taken:
            raise InvalidInput(
                f"the name {name!r} is taken", cause="it is taken", resolution="choose another name"
            )
        return name

    return Field("name", title, value, NAME_LIMITS, option, check)


def cpu_field(value: str) -> Field:
    return Field("vcpus", "virtual CPUs", value, CPU_LIMITS, "--vcpu", checked(VCPUS))


def memory_field(value: str) -> Field:
    return Field("memory_mib", "memory", value, MEMORY_LIMITS, "--memory", checked(MEMORY))


def disk_field(key: str, title: str, value: str, option: str, *, needed: bool) -> Field:
    return Field(key, title, value, DISK_LIMITS, option, checked(DISK_SIZE), needed=needed)


def fault(field: Field, text: str) -> str:
    """What is wrong with ``text``; empty if nothing is."""
    if field.locked or (not text and not field.needed):
        return ""
    if not text:
        return "it is needed"
    try:
        field.check(text)
    except InvalidInput as error:
        return error.cause or error.brief
    return ""


def values(fields: Sequence[Field], texts: Mapping[str, str]) -> dict[str, Any]:
    """What is sent: the values of all fields that are open and not empty."""
    return {
        field.key: field.check(texts[field.key])
        for field in fields
        if not field.locked and texts[field.key]
    }


def changed(fields: Sequence[Field], texts: Mapping[str, str]) -> list[Field]:
    """The fields whose text is not what it was."""
    return [field for field in fields if not field.locked and texts[field.key] != field.value]


def options(fields: Sequence[Field], texts: Mapping[str, str]) -> list[str]:
    """The words of the command line for these fields; a choice of yes is a flag alone."""
    words: list[str] = []
    for field in fields:
        text = texts[field.key]
        if not field.option or field.locked or not text:
            continue
        if field.choices == YES_NO:
            words += [field.option] if text == "yes" else []
        else:
            words += [field.option, text]
    return words


def flag_field(key: str, title: str, limits: str, option: str = "", *, on: bool = False) -> Field:
    """A yes or no."""
    return Field(
        key, title, "yes" if on else "no", limits, option, lambda text: text == "yes", YES_NO
    )
