"""Adds up what QEMU tells of its drives in the answer to ``query-blockstats`` (pure)."""

from __future__ import annotations

from banger.drivers.vmm.child import DiskCounters


def disk_counters(answer: object) -> DiskCounters | None:
    """Bytes of all drives that a guest device uses; ``None`` for an answer of another shape.

    The counters belong to the device (QEMU's ``qapi/block-core.json``, BlockStats), so the
    layers below a drive, which have entries of their own, do not count twice.
    """
    if not isinstance(answer, list):
        return None
    read = written = 0
    for entry in answer:
        stats = entry.get("stats") if isinstance(entry, dict) else None
        if not isinstance(stats, dict):
            return None
        more_read, more_written = stats.get("rd_bytes"), stats.get("wr_bytes")
        if not isinstance(more_read, int) or not isinstance(more_written, int):
            return None
        read, written = read + more_read, written + more_written
    return DiskCounters(read, written)
