"""A root side that makes "devices" which are files, with the kernel's format of a layer."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from banger.privileged.calls import Call, SnapshotAttach, SnapshotDetach, TapFacts
from banger.privileged.snapshot import name_of, uuid_of

CHUNK = 4096
ENTRIES = 256


class FakeSnapshots:
    """Stands for ``Privilege``; what the guest writes goes through ``write``."""

    #: Whose a device is.
    of_device: ClassVar[dict[Path, FakeSnapshots]] = {}

    def __init__(self, root: Path, uid: int) -> None:
        self.dev, self.sys = root / "dev", root / "sys"
        for folder in (self.dev, self.sys):
            folder.mkdir(parents=True)
        self._uid = uid
        self._numbers: dict[str, int] = {}
        self._layers: dict[Path, Path] = {}

    async def call(self, batch: Sequence[Call]) -> list[TapFacts]:
        return [self._perform(call) for call in batch]

    def write(self, device: Path, at: int, data: bytes) -> None:
        """What the kernel does: the data into new chunks of the layer, then the entries."""
        layer = self._layers[device]
        with device.open("r+b") as file:
            file.seek(at)
            file.write(data)
        for offset in range(0, len(data), CHUNK):
            chunk = (at + offset) // CHUNK
            self._store(layer, chunk, data[offset : offset + CHUNK])

    def _perform(self, call: Call) -> TapFacts:
        assert isinstance(call, SnapshotAttach | SnapshotDetach)
        name = name_of(self._uid, call.vm_id)
        if isinstance(call, SnapshotDetach):
            number = self._numbers.pop(call.vm_id, None)
            if number is not None:
                (self.dev / f"dm-{number}").unlink()
                (self.sys / f"dm-{number}" / "dm" / "uuid").unlink()
            return TapFacts(name, 0, "")
        number = self._numbers.setdefault(call.vm_id, len(self._layers))
        device = self.dev / f"dm-{number}"
        if not device.exists():
            self._layers[device] = Path(call.layer)
            self.of_device[device] = self
            self._restore(Path(call.image), Path(call.layer), device)
            uuid = self.sys / device.name / "dm" / "uuid"
            uuid.parent.mkdir(parents=True, exist_ok=True)
            uuid.write_text(uuid_of(self._uid, call.vm_id) + "\n")
        return TapFacts(name, 254 << 8 | number, uuid_of(self._uid, call.vm_id))

    def _store(self, layer: Path, chunk: int, data: bytes) -> None:
        entries = self._entries(layer)
        known = dict(entries)
        with layer.open("r+b") as file:
            if chunk not in known:
                count = len(entries)
                known[chunk] = 2 + count + count // ENTRIES
                assert (known[chunk] + 1) * CHUNK <= layer.stat().st_size, "no room: invalid"
                area, index = divmod(count, ENTRIES)
                file.seek((1 + area * (ENTRIES + 1)) * CHUNK + index * 16)
                file.write(struct.pack("<QQ", chunk, known[chunk]))
            file.seek(known[chunk] * CHUNK)
            file.write(data)

    def _entries(self, layer: Path) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        with layer.open("rb") as file:
            area = 0
            while True:
                file.seek((1 + area * (ENTRIES + 1)) * CHUNK)
                data = file.read(CHUNK)
                pairs = [pair for pair in struct.iter_unpack("<QQ", data) if pair[1]]
                found += [(old, new) for old, new in pairs]
                if len(pairs) < ENTRIES:
                    return found
                area += 1

    def _restore(self, image: Path, layer: Path, device: Path) -> None:
        device.write_bytes(image.read_bytes())
        with device.open("r+b") as file, layer.open("rb") as changes:
            for old, new in self._entries(layer):
                changes.seek(new * CHUNK)
                file.seek(old * CHUNK)
                file.write(changes.read(CHUNK))
        device.chmod(0o600)
