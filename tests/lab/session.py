"""One restored lab host with the present source tree in it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.lab import saved
from tests.lab.control import Control
from tests.lab.machine import GIVEN_SIZE, Files, Machine

TOP = Path(__file__).parents[2]
#: Makes an image one without an init, as those of containers are: banger's own is taken.
_NO_INIT = ("rm /usr/sbin/init", "rm /usr/lib/systemd/systemd", "mkdir /.banger")


class Session:
    """A lab host that runs from its making to ``end``. All its commands have a deadline.

    ``more`` are arguments of ``tar``: what it adds lies in ``/opt/banger`` there.
    """

    def __init__(self, *, more: Sequence[str] = ()) -> None:
        self._image = saved.IMAGE_FOLDER
        began = time.monotonic()
        root = saved.ensure_saved()
        built = time.monotonic()
        self._folder = Path(tempfile.mkdtemp(prefix="bgr-lab-", dir="/tmp"))
        files = Files(root, root / "memory", self._folder / "given", self._folder)
        try:
            size = _pack_source(files.given, more)
            packed = time.monotonic()
            self.machine = Machine(files, shared=False, incoming=True)
            self.machine.migrate("migrate-incoming", f"exec:cat {root / 'state'}")
            self.machine.command("cont")
            self.control = Control(self.machine.connect_control())
            self.control.wake()
            restored = time.monotonic()
            self._unpack(size)
        except BaseException:
            self.end()
            raise
        self.seconds = {
            "build": built - began,
            "pack": packed - built,
            "restore": restored - packed,
            "unpack": time.monotonic() - restored,
        }

    def _unpack(self, size: int) -> None:
        read = f"dd if=/dev/vdb bs=1M count={(size >> 20) + 1} iflag=direct status=none"
        self.shell(
            f"{read} | tar -x -f - -C /opt/banger && python3 -c 'import banger'", timeout=240
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def shell(self, script: str, *, user: str = "root", timeout: float = 120) -> str:
        """Run a shell script that must succeed; its output."""
        done = self.control.run("bash", "-ec", script, user=user, timeout=timeout)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        assert done.returncode == 0, f"{script}\nended with {done.returncode}:\n{out}{err}"
        return out

    def give_image(self, state: str, *, user: str = "root") -> None:
        """Put the guest image into banger's state folder ``state``; all becomes the user's.

        The first time it is moved, which takes no time: ``state`` is below ``/root`` or ``/home``.
        """
        images = f"{saved.MEMORY}{state}/images"
        give = "mv" if self._image == saved.IMAGE_FOLDER else "cp -r"
        self.shell(
            f"umask 077; mkdir -p {images}; {give} {self._image}/* {images};"
            f" chown -R {user}: {state}",
            timeout=300,
        )
        self._image = images

    def take_init_away(self, state: str) -> None:
        """Take systemd out of the images in ``state``: their guests get banger's own init."""
        commands = "; ".join(f"debugfs -w -R '{command}' $drive" for command in _NO_INIT)
        self.shell(f"for drive in {state}/images/*/rootfs.ext4; do {commands}; done")

    def end(self) -> None:
        """Stop it. Nothing of it remains."""
        if hasattr(self, "machine"):
            self.machine.end()
        if hasattr(self, "control"):
            self.control.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _pack_source(drive: Path, more: Sequence[str]) -> int:
    """The package with its compiled modules, and more, as a tar with room behind it; its bytes."""
    source = TOP / "src"
    compiler = str(TOP / ".venv/bin/python")
    subprocess.run([compiler, "-m", "compileall", "-q", source], check=True)
    given = ["-C", str(TOP), "src", "tests/fakes", *more]
    subprocess.run(["tar", "-c", "--owner=0", "--group=0", "-f", drive, *given], check=True)
    size = drive.stat().st_size
    if size > GIVEN_SIZE:
        raise RuntimeError(f"the source tree does not fit into {GIVEN_SIZE} bytes")
    with drive.open("r+b") as file:
        file.truncate(GIVEN_SIZE)
    return size
