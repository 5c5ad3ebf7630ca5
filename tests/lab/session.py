"""One restored lab host with the present source tree in it, and perhaps a guest image."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from banger.host.files import lock_file
from tests.lab import saved
from tests.lab.control import Control
from tests.lab.machine import IMAGE_SIZE, SOURCE_SIZE, Files, Machine
from tests.plugins import built_image

TOP = Path(__file__).parents[2]
IMAGE_FOLDER = "/lab/image"


class Session:
    """A lab host that runs from ``with`` to its end. All its commands have a deadline.

    ``more`` are arguments of ``tar``: what it adds lies in ``/opt/banger`` there.
    """

    def __init__(self, *, with_image: bool = True, more: Sequence[str] = ()) -> None:
        began = time.monotonic()
        self._root = saved.ensure_saved()
        self._more = more
        self._image = _image_drive() if with_image else None
        self.seconds = {"build": time.monotonic() - began}
        self._start()

    def _start(self) -> None:
        root, began = self._root, time.monotonic()
        self._folder = Path(tempfile.mkdtemp(prefix="bgr-lab-", dir="/tmp"))
        files = Files(
            root, root / "memory", self._folder / "source", self._folder / "image", self._folder
        )
        try:
            _pack_source(files.source, self._more)
            if self._image is None:
                _blank(files.image, IMAGE_SIZE)
            else:
                files.image.symlink_to(self._image)
            restoring = time.monotonic()
            self.machine = Machine(files, shared=False, incoming=True)
            self.machine.migrate("migrate-incoming", f"exec:cat {root / 'state'}")
            self.machine.command("cont")
            self.control = Control(self.machine.connect_control())
            self.control.wake()
            restored = time.monotonic()
            self._unpack(has_image=self._image is not None)
        except BaseException:
            self.end()
            raise
        self.seconds |= {
            "pack": restoring - began,
            "restore": restored - restoring,
            "unpack": time.monotonic() - restored,
        }

    def _unpack(self, *, has_image: bool) -> None:
        script = (
            "dd if=/dev/vdb bs=1M iflag=direct status=none | tar -x -f - -C /opt/banger"
            " && python3 -c 'import banger'"
        )
        if has_image:
            script += f" && mount -t ext4 -o ro /dev/vdc {IMAGE_FOLDER}"
        done = self.control.run("sh", "-c", script, timeout=120)
        if done.returncode:
            raise RuntimeError(f"the lab host has no source: {done.stderr.decode()}")

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def shell(self, script: str, *, user: str = "root", timeout: float = 60) -> str:
        """Run a shell script that must succeed; its output."""
        done = self.control.run("bash", "-ec", script, user=user, timeout=timeout)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        assert done.returncode == 0, f"{script}\nended with {done.returncode}:\n{out}{err}"
        return out

    def give_image(self, state: str, *, user: str = "root") -> None:
        """Put the guest image into banger's state folder ``state``; all becomes the user's.

        A copy, in memory: with the drive itself mounted there (12 s less), its interrupts came
        while guests ran, and those hung or died in four tests of twenty.
        """
        self.shell(
            f"umask 077; mkdir -p {state}/images; cd {IMAGE_FOLDER}; for id in [0-9a-f]*; do"
            f" mkdir {state}/images/$id && cp --sparse=always $id/* {state}/images/$id/; done;"
            f" chown -R {user}: {state}",
            timeout=180,
        )

    def end(self) -> None:
        """Stop it. Nothing of it remains."""
        if hasattr(self, "machine"):
            self.machine.end()
        if hasattr(self, "control"):
            self.control.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _blank(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _pack_source(drive: Path, more: Sequence[str]) -> None:
    """The package with its compiled modules, and more, as a tar with room behind it."""
    source = TOP / "src"
    compiler = str(TOP / ".venv/bin/python")
    subprocess.run([compiler, "-m", "compileall", "-q", source], check=True)
    given = ["-C", str(TOP), "src", "tests/fakes", *more]
    subprocess.run(["tar", "-c", "--owner=0", "--group=0", "-f", drive, *given], check=True)
    if drive.stat().st_size > SOURCE_SIZE:
        raise RuntimeError(f"the source tree does not fit into {SOURCE_SIZE} bytes")
    with drive.open("r+b") as file:
        file.truncate(SOURCE_SIZE)


def _image_drive() -> Path:
    """The tests' own guest image as an ext4 drive, made once for each image."""
    folder = built_image.ensure_built().folder
    drive = folder.parents[3] / "lab-drive.ext4"
    lock = lock_file(drive.with_suffix(".lock"))
    while lock is None:
        time.sleep(0.5)
        lock = lock_file(drive.with_suffix(".lock"))
    try:
        if not drive.exists():
            half = drive.with_suffix(".half")
            half.unlink(missing_ok=True)
            _blank(half, IMAGE_SIZE)
            options = ("-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0")
            subprocess.run(
                ["mke2fs", "-q", "-F", "-t", "ext4", *options, "-d", folder.parent, half],
                check=True,
            )
            half.rename(drive)
    finally:
        os.close(lock)
    return drive
