from __future__ import annotations

import io
import tarfile

from banger.drivers.image.overlay import EPOCH, build_overlay, default_overlay, shipped_files


def test_every_entry_is_roots_and_of_one_time() -> None:
    with tarfile.open(fileobj=io.BytesIO(build_overlay({"b": b"2", "a/c": b"1"}))) as archive:
        entries = archive.getmembers()
    assert [entry.name for entry in entries] == ["a/c", "b"]
    for entry in entries:
        assert (entry.uid, entry.gid, entry.mtime, entry.mode) == (0, 0, EPOCH, 0o644)
        assert entry.isfile()


def test_the_same_files_give_the_same_bytes() -> None:
    assert default_overlay("x\n") == default_overlay("x\n")
    assert default_overlay("x\n") != default_overlay()


def test_what_is_shipped() -> None:
    found = shipped_files()
    assert found["etc/machine-id"] == b""
    assert b"PasswordAuthentication no" in found["etc/ssh/sshd_config.d/10-banger.conf"]
    assert b"\ntmpfs /tmp tmpfs " in found["etc/fstab"]
    with tarfile.open(fileobj=io.BytesIO(default_overlay())) as archive:
        assert {"etc/.updated", "var/.updated"} <= set(archive.getnames())
