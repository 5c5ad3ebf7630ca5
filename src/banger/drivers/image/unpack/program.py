"""The confined process: reads an archive of anybody's and fills a new file system from it.

Its current folder is a scratch folder of its own. It opens nothing outside: archive and image
are descriptors that it inherits. The order comes as JSON on standard input; lines of progress
and, last, the result go to standard output.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from banger.drivers.image.unpack import extras, inflate, members, own
from banger.drivers.image.unpack.ext4 import Ext4Writer
from banger.drivers.image.unpack.layer import Layers
from banger.drivers.image.unpack.limits import GIB, Refused, unpacked_limit
from banger.drivers.image.unpack.manifest import Found, Layer, compression_of, find
from banger.drivers.image.unpack.tree import Tree
from banger.drivers.image.unpack.window import Window, whole

#: Memory for a tree of two million entries.
_MEMORY = 4 * GIB
#: Seconds between two lines of progress.
_QUIET = 0.2
_OUTER = "outer.tar"


class Work:
    """One order: ``archive`` is a descriptor or -1, ``members`` the files of a layout folder."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._told = 0.0

    def read(self) -> dict[str, Any]:
        """Check everything and unpack what is compressed.

        In the result ``zstd`` lists what another program must unpack: (source, target, limit in
        bytes); with ``again``, this is to be repeated afterwards. ``identity`` is the same for
        the same layers, ``own`` the record of an image that banger has exported.
        """
        archive = self._archive()
        if archive is not None and compression_of(archive) == "zstd" and archive.size:
            window, _ = inflate.copy(archive, "outer.zst", self._step("copying the archive", 1))
            return {"again": True, "zstd": [("outer.zst", _OUTER, unpacked_limit(window.size))]}
        archive, found = self._found()
        if isinstance(found, own.OwnImage):
            return {"own": own.read(found, self._step("reading the image", 1))}
        zstd, identity = [], []
        for number, layer in enumerate(found.layers, start=1):
            identity.append(self._read_layer(layer, number, len(found.layers)))
            if layer.compression == "zstd":
                limit = unpacked_limit(layer.window.size)
                zstd.append((f"{number}.zst", f"{number}.tar", limit))
        return {"zstd": zstd, "config": found.config, "identity": " ".join(identity)}

    def write(self) -> dict[str, Any]:
        """Fill the image. Comes after ``read``, in the same folder."""
        _, found = self._found()
        image = int(self._order["image"])
        if isinstance(found, own.OwnImage):
            own.write(found, image, self._step("writing the file system", found.rootfs.size))
            return {}
        tree, sources = Tree(), {}
        layers = Layers(tree)
        for number, layer in enumerate(found.layers, start=1):
            sources[number] = self._unpacked(layer, number)
            text = f"reading layer {number} of {len(found.layers)}"
            layers.add(sources[number], number, self._step(text, 0))
        if not tree.root.children:
            raise Refused("there is nothing in it")
        added = extras.Extras(tree, "extras")
        if self._order["modules"]:
            target = b"lib/modules/" + os.fsencode(Path(self._order["modules"]).name)
            added.folder(self._order["modules"], target)
        added.agent(self._order["python"], extras.environment_of(found.config))
        tree.drop(b"lost+found")
        sources[extras.SOURCE] = added.window()
        step = self._step("writing the file system", sum(map(_size, sources.values())))
        return {"inodes": Ext4Writer(image, sources, step).write(tree.root)}

    def _archive(self) -> Window | None:
        if Path(_OUTER).exists():
            return inflate.opened(_OUTER)
        descriptor = int(self._order["archive"])
        return None if descriptor < 0 else whole(descriptor)

    def _found(self) -> tuple[Window | None, Found | own.OwnImage]:
        archive = self._archive()
        if archive is None:
            named = {name: whole(number) for name, number in self._order["members"].items()}
            return None, find(named, None, self._order["architecture"])
        if compression_of(archive) == "gzip" and not Path(_OUTER).exists():
            step = self._step("unpacking the archive", 0)
            archive, _ = inflate.unpack(archive, _OUTER, step)
        if compression_of(archive):
            raise Refused("it is compressed twice")
        found = members.of_archive(archive)
        image = own.find(archive, found)
        return archive, image or find(found, archive, self._order["architecture"])

    def _read_layer(self, layer: Layer, number: int, count: int) -> str:
        text = f"checking layer {number} of {count}"
        if layer.digest and f"sha256:{layer.window.sha256()}" != layer.digest:
            raise Refused(f"layer {number} is not what its digest {layer.digest} says")
        step = self._step(text, layer.window.size)
        if layer.compression == "zstd":
            inflate.copy(layer.window, f"{number}.zst", step)
            return layer.diff_id
        if layer.compression == "gzip":
            _, digest = inflate.unpack(layer.window, f"{number}.tar", self._step(text, 0))
        else:
            digest = layer.window.sha256()
        _check(layer, digest, number)
        return digest

    def _unpacked(self, layer: Layer, number: int) -> Window:
        if not layer.compression:
            return layer.window
        window = inflate.opened(f"{number}.tar")
        if layer.compression == "zstd":
            _check(layer, window.sha256(), number)
        return window

    def _step(self, text: str, whole_size: int) -> Callable[[int], None]:
        def step(done: int) -> None:
            now = time.monotonic()
            if now - self._told >= _QUIET:
                self._told = now
                fraction = min(done / whole_size, 1.0) if whole_size else -1
                _tell("progress", [fraction, text])

        return step


def _check(layer: Layer, digest: str, number: int) -> None:
    if layer.diff_id and f"sha256:{digest}" != layer.diff_id:
        raise Refused(f"layer {number} does not unpack to what its digest {layer.diff_id} says")


def _tell(kind: str, value: object) -> None:
    sys.stdout.write(f"{kind} {json.dumps(value)}\n")
    sys.stdout.flush()


def _size(window: Window) -> int:
    return window.size


def main() -> None:
    """Do what standard input says, and end with one line: ``result`` or ``refused``."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    order = json.load(sys.stdin)
    work = Work(order)
    try:
        result = work.read() if order["verb"] == "read" else work.write()
    except Refused as refused:
        _tell("refused", str(refused))
    except MemoryError:
        _tell("refused", "it needs too much memory")
    else:
        _tell("result", result)
