from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

from banger.errors import HostNotReady
from banger.host import static_busybox
from banger.host.finding import Status
from banger.host.static_busybox import busybox_check


def program(folder: Path, *header_types: int) -> Path:
    """A busybox of nothing but an ELF header and program headers of these types."""
    head = b"\x7fELF\x02" + bytes(27) + struct.pack("<Q", 64) + bytes(14)
    head += struct.pack("<HH", 56, len(header_types)) + bytes(6)
    path = folder / "busybox"
    path.write_bytes(head + b"".join(struct.pack("<I52x", kind) for kind in header_types))
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def only_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, package: str) -> Path:
        found = shutil.which(name, path=str(tmp_path))
        if found is None:
            raise HostNotReady(f"the program {name} is missing", cause="it was not found")
        return Path(found)

    monkeypatch.setattr(static_busybox, "find_program", find)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def test_a_static_one_will_do(tmp_path: Path) -> None:
    path = program(tmp_path, 1, 1)
    assert static_busybox.static_busybox() == path
    found = busybox_check()
    assert (found.status, found.found, found.resolution) == (Status.OK, str(path), "")


@pytest.mark.parametrize(
    ("there", "said"), [(True, "not a static program"), (False, "not installed")]
)
def test_the_package_is_named_where_there_is_none(tmp_path: Path, there: bool, said: str) -> None:
    if there:
        program(tmp_path, 1, 3)
        with pytest.raises(HostNotReady, match="cannot be given to a guest"):
            static_busybox.static_busybox()
    found = busybox_check()
    assert (found.status, found.found) == (Status.WARN, said)
    assert found.resolution == "sudo apt-get install busybox-static"
