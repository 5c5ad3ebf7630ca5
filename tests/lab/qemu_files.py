"""This machine's QEMU with its libraries and firmware, for the lab host: both are Debian 12."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

FOLDER = "/opt/banger/qemu"
#: What machines without a display read: firmware and boot programs.
_FIRMWARE = ("bios-256k.bin", "bios-microvm.bin", "qboot.rom", "kvmvapic.bin", "linuxboot*.bin")
_FIRMWARE_FOLDERS = (Path("/usr/share/qemu"), Path("/usr/share/seabios"))


def given() -> list[str]:
    """Arguments of ``tar`` that add them below their own paths. The lab host gets copies."""
    program = Path(shutil.which("qemu-system-x86_64") or "qemu-system-x86_64").resolve()
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    found = {Path(path) for path in re.findall(r"/\S+", listed.stdout)}
    paths = {program} | {path.parent.resolve() / path.name for path in found}
    paths |= {path for folder in _FIRMWARE_FOLDERS for name in _FIRMWARE
              for path in folder.glob(name)}  # fmt: skip
    paths |= {path.resolve() for path in paths}
    names = sorted(str(path.relative_to("/")) for path in paths)
    return ["--transform", "s,^usr/,qemu/usr/,", "-C", "/", *names]


#: Puts them where a package would have.
INSTALL = f"cp -a {FOLDER}/usr/. /usr/ && ldconfig && qemu-system-x86_64 --version"
