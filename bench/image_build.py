"""An image build against mmdebstrap and mke2fs by hand, with the same packages already here."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import banger
from banger.drivers.image.mmdebstrap import TRIM
from bench.measure import Goal, interleaved, report
from tests.plugins.built_image import cache
from tests.plugins.guards import GIVEN_ENVIRONMENT
from tests.plugins.home import Home

SUITE = "bookworm"
SOURCES = Path("/etc/apt")


def _packages() -> list[str]:
    text = Path(banger.__file__).with_name("guest_files").joinpath("packages.apt").read_text()
    words = (line.partition("#")[0].strip() for line in text.splitlines())
    return [word for word in words if word]


def _apt_options() -> str:
    """What apt knows of the way to its archives, in the form of a configuration file."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    lines = (line for line in dump.stdout.splitlines() if line.startswith("Acquire::"))
    return "\n".join(line for line in lines if not re.match(r"Acquire::\S*APT::", line)) + "\n"


def _by_hand(debs: Path) -> float:
    """mmdebstrap into a folder in memory, with the kernel unpacked, and a file system."""
    with tempfile.TemporaryDirectory(prefix="bgr-image-", dir="/dev/shm") as name:
        work = Path(name)
        work.chmod(0o755)  # packages are unpacked by another user
        (work / "apt.conf").write_text(_apt_options())
        sources = [*SOURCES.glob("sources.list"), *SOURCES.glob("sources.list.d/*.sources")]
        tree = work / "tree"
        started = time.monotonic()
        subprocess.run(
            [
                *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"),
                f"--include={','.join(_packages())}",
                f"--aptopt={work}/apt.conf",
                *(f"--dpkgopt={option}" for option in TRIM),
                '--setup-hook=mkdir -p "$1"/var/cache/apt/archives',
                f"--setup-hook=sync-in {debs} /var/cache/apt/archives",
                *(SUITE, str(tree), *map(str, sources)),
            ],
            env=GIVEN_ENVIRONMENT | {"TMPDIR": str(work)},
            check=True,
        )
        kernel = max(debs.glob("linux-image-*-cloud-*.deb"), key=lambda deb: deb.stat().st_mtime)
        subprocess.run(["dpkg-deb", "--extract", str(kernel), str(tree)], check=True)
        image = work / "rootfs.ext4"
        subprocess.run(["truncate", "--size=8G", str(image)], check=True)
        make = ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-d", str(tree), str(image)]
        subprocess.run(make, check=True)
        return time.monotonic() - started


def run(rounds: int) -> list[str]:
    """Both ways in turn; one build before fills the cache of packages."""
    if os.geteuid() != 0:
        return ["image build: by hand it needs root, so nothing was compared"]
    home = Home(Path(tempfile.mkdtemp(prefix="bgr-")))
    packages = cache() / "packages"
    home.environment["XDG_CACHE_HOME"] = str(packages)
    try:
        home.ok("image", "build", "bench", timeout=1200)

        def build() -> float:
            started = time.monotonic()
            home.ok("image", "build", "bench", "--rebuild", timeout=1200)
            return time.monotonic() - started

        samples = interleaved(
            {
                "mmdebstrap, mke2fs": lambda: _by_hand(packages / "banger/debs" / SUITE),
                "banger image build": build,
            },
            rounds,
        )
    finally:
        home.clear()
    goals = {"banger image build": Goal(1.15, against="mmdebstrap, mke2fs")}
    return report("image build, packages cached", samples, goals)
