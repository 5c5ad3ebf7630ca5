"""One result of looking at the host: what it is for, what was found, and what mends it."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Status(StrEnum):
    """``fail``: no VM can be run. ``warn``: something is slower or cannot be had."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(Struct, frozen=True):
    """``resolution`` is the command that mends it; empty where all is well.

    ``needed_for`` names what does not work without it, ``purpose`` says what it does there.
    """

    name: str
    purpose: str
    status: Status
    found: str
    resolution: str
    needed_for: str
