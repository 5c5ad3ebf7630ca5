from __future__ import annotations

import pytest

from banger.drivers.vmm.child import DiskCounters
from banger.drivers.vmm.qemu.block_stats import disk_counters


def entry(read: int, written: int) -> dict[str, object]:
    layer = {"stats": {"rd_bytes": 9_999, "wr_bytes": 9_999}, "node-name": "below"}
    return {
        "device": "",
        "qdev": "/machine/peripheral-anon/device[2]/virtio-backend",
        "node-name": "root",
        "stats": {"rd_bytes": read, "wr_bytes": written, "flush_operations": 3},
        "parent": layer,
        "backing": layer,
    }


def test_drives_are_added_up_and_their_layers_are_not() -> None:
    assert disk_counters([entry(10, 1), entry(200, 20)]) == DiskCounters(210, 21)


def test_no_drive_reads_nothing() -> None:
    assert disk_counters([]) == DiskCounters(0, 0)


@pytest.mark.parametrize(
    "answer", [None, {}, "x", [1], [{}], [{"stats": []}], [{"stats": {"rd_bytes": "1"}}]]
)
def test_another_shape_is_no_figure(answer: object) -> None:
    assert disk_counters(answer) is None
