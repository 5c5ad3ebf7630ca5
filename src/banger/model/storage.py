"""Drives as the VMM sees them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Drive:
    """One block device of a VM.

    ``id`` is ``root`` or ``work``; drives are attached in the order given (vda, vdb).
    ``format`` is ``raw`` or ``qcow2``. ``base`` is the read-only backing file of a qcow2
    drive, ``None`` for a raw one.
    """

    id: str
    path: Path
    format: str
    base: Path | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes that a drive occupies on the host, and the most that it may."""

    used_bytes: int
    limit_bytes: int
