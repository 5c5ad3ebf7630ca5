"""Takes out of an image of banger's own what a foreign one lacks: kernel modules and a Python.

The Python is what ``banger``'s agent in the guest runs in, with the few libraries it needs, so it
starts in any system. It is read with debugfs: nothing is mounted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from banger.errors import CorruptState
from banger.host.command import Command, find_program, run
from banger.host.ext_files import complaint, dropping
from banger.host.files import explained

_TIMEOUT = 120.0
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
#: What Debian's python3 is linked with; its other modules are in the program itself.
_NEEDED = ("libc.so.6", "libm.so.6", "libz.so.1", "libexpat.so.1")
_LOADER = "ld-linux-x86-64.so.2"
#: What Python and the agent read of its library. All else is in the program ("frozen").
_LIBRARY = (
    *("os.py", "__future__.py"),
    *(f"encodings/{name}.py" for name in ("__init__", "aliases", "utf_8", "latin_1", "ascii")),
)
#: What the agent uses and Debian does not build into the program itself.
_MODULE = "_json"
_LINK = re.compile(r'Fast link dest: "([^"]+)"')


class GuestParts(Struct, frozen=True):
    """Reads the file ``rootfs``; what it takes lands in folders of ``work``."""

    rootfs: Path
    work: Path
    run_as: tuple[int, int] | None

    async def modules(self, version: str) -> str:
        """The modules of a kernel; returns the path of their folder in ``work``, or nothing."""
        self._make("modules")
        await self._script(f"rdump /usr/lib/modules/{version} modules")
        return f"modules/{version}" if (self.work / "modules" / version).is_dir() else ""

    async def python(self) -> str:
        """A Python that needs nothing else; its folder in ``work``, or nothing if there is none."""
        name = Path(await self._link("/usr/bin/python3")).name
        if not re.fullmatch(r"python3\.[0-9]+", name):
            return ""
        for folder in (f"python/lib/{name}/encodings", f"python/lib/{name}/lib-dynload"):
            self._make(folder)
        lines = [f"dump -p /usr/bin/{name} python/python3"]
        for library in (*_NEEDED, _LOADER):
            target = await self._link(f"{_LIBRARIES}/{library}")
            source = f"{_LIBRARIES}/{target or library}"
            lines.append(f"dump -p {source} python/lib/{library}")
        lines += [f"dump /usr/lib/{name}/{file} python/lib/{name}/{file}" for file in _LIBRARY]
        module = f"lib/{name}/lib-dynload/{_MODULE}.cpython-{name[6:].replace('.', '')}"
        module += "-x86_64-linux-gnu.so"
        lines.append(f"dump /usr/{module} python/{module}")
        await self._script(*lines)
        return "python" if (self.work / "python/python3").exists() else ""

    def _make(self, folder: str) -> None:
        path = self.work
        for name in folder.split("/"):
            path /= name
            path.mkdir(exist_ok=True)
            if self.run_as is not None:
                os.chown(path, *self.run_as)

    async def _link(self, path: str) -> str:
        text = await self._script(f"stat {path}")
        match = _LINK.search(text)
        return match[1] if match else ""

    async def _script(self, *lines: str) -> str:
        with explained(f"read {self.rootfs}"):
            opened = os.open(self.rootfs, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if self.run_as is not None:
                # As every image is; a copy of a home may have other modes. The folder is private.
                os.fchmod(opened, 0o444)
            done = await run(self._command(opened, lines))
        finally:
            os.close(opened)
        if b"Filesystem not open" in done.stderr:
            raise CorruptState(
                f"{self.rootfs} cannot be read",
                cause=complaint(done.stderr.decode(errors="replace")),
                resolution=f"e2fsck -fn {self.rootfs}",
            )
        return done.text

    def _command(self, opened: int, lines: Sequence[str]) -> Command:
        program = str(find_program("debugfs", "e2fsprogs"))
        return Command(
            (*dropping(self.run_as), program, "-f", "-", f"/proc/self/fd/{opened}"),
            stdin="".join(f"{line}\n" for line in lines).encode(),
            cwd=self.work,
            timeout=_TIMEOUT,
            package="util-linux",
            descriptors=(opened,),
        )
