"""The files that banger puts into every image, as one reproducible tar archive."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

#: Every time stamp that a build makes itself, in seconds since 1970. Any constant will do;
#: it must not lie in the future, or tools in the guest complain.
EPOCH = 1_700_000_000

#: systemd(1) compares these with /usr: equal times tell it that no update at boot is due.
_UP_TO_DATE = f"TIMESTAMP_NSEC={EPOCH}000000000\n".encode()
_MADE: Mapping[str, bytes] = {"etc/.updated": _UP_TO_DATE, "var/.updated": _UP_TO_DATE}
_APT = "etc/apt/apt.conf.d/90banger"


def shipped_files() -> dict[str, bytes]:
    """Path in the image -> content, of the files in ``guest_files/rootfs``."""
    found: dict[str, bytes] = {}
    _collect(files("banger").joinpath("guest_files", "rootfs"), "", found)
    return found


def build_overlay(contents: Mapping[str, bytes]) -> bytes:
    """A tar of plain files, all root's and 0644. Their folders are left to the system itself."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in sorted(contents.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.mtime = len(content), 0o644, EPOCH
            entry.uname = entry.gname = "root"
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def default_overlay(apt_configuration: str = "") -> bytes:
    """The overlay of every image; ``apt_configuration`` is for the guest's own apt."""
    apt = {_APT: apt_configuration.encode()} if apt_configuration else {}
    return build_overlay({**shipped_files(), **_MADE, **apt})


def _collect(folder: Traversable, prefix: str, found: dict[str, bytes]) -> None:
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            _collect(entry, f"{path}/", found)
        else:
            found[path] = entry.read_bytes()
