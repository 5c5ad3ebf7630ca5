"""The images that tests share: each built once by the real daemon and kept in a cache."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import banger
from banger.paths import Paths
from tests.plugins.guards import GIVEN_ENVIRONMENT
from tests.plugins.home import Home

PACKAGE = Path(banger.__file__).parent
#: What decides the content of an image: the builder and all that goes into rootfs and initrd.
SOURCES = ("drivers/image", "drivers/guest", "guest_files")
NAME, DOCKER_NAME = "debian", "docker-debian"
#: Seconds for a build without any cached package on two busy cores.
TIMEOUT = 1200.0


def cache() -> Path:
    """Where built images and downloaded packages stay between test runs."""
    home = Path(GIVEN_ENVIRONMENT.get("HOME", "/"))
    return Path(GIVEN_ENVIRONMENT.get("XDG_CACHE_HOME") or home / ".cache") / "banger-tests"


def key() -> str:
    """A digest of everything that decides what a build gives, but for the archive's state."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((PACKAGE / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(PACKAGE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """A finished image folder inside the state folder of the home that built it."""

    folder: Path

    def give_to(self, paths: Paths) -> None:
        """Put the image into another, unused home: its row in the database and its files."""
        state = self.folder.parents[1]
        target = paths.image(self.folder.name)
        target.mkdir(parents=True, mode=0o700)
        paths.images.chmod(0o700)
        for source in self.folder.iterdir():
            _link_or_copy(source, target / source.name)
        original = sqlite3.connect(f"file:{state / 'banger.db'}?mode=ro", uri=True)
        copy = sqlite3.connect(paths.database)
        try:
            original.backup(copy)
        finally:
            original.close()
            copy.close()
        paths.database.chmod(0o600)


def _link_or_copy(source: Path, target: Path) -> None:
    """The origin is read-only to every VM, so a hard link is as good as a copy, and free."""
    try:
        os.link(source, target)
    except OSError:
        # Another file system; the rootfs is 8 GiB of mostly holes.
        subprocess.run(["cp", "--sparse=always", source, target], check=True)


def lock(path: Path, *, wait: bool) -> int:
    """Lock a file for this process; the descriptor holds it. May raise ``BlockingIOError``."""
    return _lock(path, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def hold(folder: Path) -> None:
    """Keep other runs from taking a cached folder away until this process ends."""
    _lock(_lock_of(folder), fcntl.LOCK_SH)


def _lock(path: Path, kind: int) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


@functools.cache
def ensure_built(name: str = NAME) -> BuiltImage:
    """The image of the present source, built now unless an earlier run has done it.

    ``name`` is one of those that ``banger`` builds without being told how.
    """
    top = cache()
    kind = "image" if name == NAME else name
    wanted = top / f"{kind}-{key()}"
    record = wanted / "built.json"
    one_at_a_time = lock(top / "lock", wait=True)
    try:
        hold(wanted)
        if not record.exists():
            for old in top.glob(f"{kind}-*/"):
                forget(old)
            _build(wanted, name)
    finally:
        os.close(one_at_a_time)
    return BuiltImage(wanted / "state/banger/images" / json.loads(record.read_text())["id"])


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def forget(old: Path) -> None:
    """Remove a cached folder of another source unless a run, perhaps this one, uses it."""
    try:
        alone = lock(_lock_of(old), wait=False)
    except BlockingIOError:
        return
    shutil.rmtree(old, ignore_errors=True)
    _lock_of(old).unlink()
    os.close(alone)


def _build(wanted: Path, name: str) -> None:
    """Build in a home whose runtime folder is short and whose package cache is shared."""
    home = Home(Path(tempfile.mkdtemp(prefix="bgr-")))
    home.environment["XDG_STATE_HOME"] = str(wanted / "state")
    home.environment["XDG_CACHE_HOME"] = str(cache() / "packages")
    home.paths = Paths.from_environment(home.environment, os.geteuid())
    shutil.rmtree(wanted, ignore_errors=True)
    wanted.joinpath("state").mkdir(parents=True, mode=0o700)
    try:
        home.ok("image", "build", name, timeout=TIMEOUT)
        image = home.json("image", "show", name)
        home.ok("daemon", "stop")
        found = image[0] if isinstance(image, list) else image
        (wanted / "built.json").write_text(json.dumps({"id": found["id"]}))
    finally:
        home.clear()
