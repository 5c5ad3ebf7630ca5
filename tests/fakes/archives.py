"""Image archives made by hand: layers, OCI layouts and what ``docker save`` writes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JSON = dict[str, Any]
LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    """A header; ``fields`` are attributes of ``TarInfo``."""
    made = tarfile.TarInfo(name)
    made.type = kind
    made.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def tar(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT
        ) -> bytes:  # fmt: skip
    """A tar of headers, or of headers with their contents."""
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=form, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for member in members:
            header, content = member if isinstance(member, tuple) else (member, b"")
            if content:
                header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


def files(**contents: bytes) -> bytes:
    """A tar of plain files; ``__`` in a name is a slash."""
    pairs = ((entry(name.replace("__", "/")), data) for name, data in contents.items())
    return tar(*pairs)


def digest(data: bytes) -> str:
    """As image manifests write it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Layout:
    """An OCI layout while it is made; its parts may be spoiled before it is written."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    index: JSON = field(default_factory=lambda: {"schemaVersion": 2, "manifests": []})
    layout: JSON = field(default_factory=lambda: {"imageLayoutVersion": "1.0.0"})

    def add(self, data: bytes, kind: str) -> JSON:
        """Add a blob; returns its descriptor."""
        self.blobs[digest(data)] = data
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    def document(self, value: object, kind: str) -> JSON:
        """Add a JSON blob."""
        return self.add(json.dumps(value).encode(), kind)

    def members(self) -> dict[str, bytes]:
        """Name -> content of every file."""
        return {
            "oci-layout": json.dumps(self.layout).encode(),
            "index.json": json.dumps(self.index).encode(),
            **{f"blobs/{name.replace(':', '/')}": data for name, data in self.blobs.items()},
        }

    def archive(self) -> bytes:
        """All of it as a tar."""
        return tar(*((entry(name), data) for name, data in self.members().items()))

    def write(self, folder: Path) -> Path:
        """All of it as a folder."""
        for name, data in self.members().items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder


def configuration(layers: Sequence[bytes], config: Mapping[str, object] | None = None) -> JSON:
    """An image configuration for uncompressed layers."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
    }


def oci(*layers: bytes, compression: str = "", config: Mapping[str, object] | None = None,
        **platform: str) -> Layout:  # fmt: skip
    """A layout with one image."""
    made = Layout()
    kind = f"{LAYER}+{compression}" if compression else LAYER
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": made.document(configuration(layers, config), CONFIG),
        "layers": [made.add(compressed(layer, compression), kind) for layer in layers],
    }
    described = made.document(manifest, MANIFEST)
    made.index["manifests"].append({**described, **({"platform": platform} if platform else {})})
    return made


def compressed(data: bytes, compression: str) -> bytes:
    """The data in gzip, in zstd, or as it is."""
    if compression == "gzip":
        return gzip.compress(data, mtime=0)
    if compression == "zstd":
        done = subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True)
        return done.stdout
    return data


def docker(*layers: bytes, config: Mapping[str, object] | None = None) -> bytes:
    """What ``docker save`` wrote until version 24: a folder for each layer, links for repeated."""
    text = json.dumps(configuration(layers, config)).encode()
    name = digest(text).removeprefix("sha256:")
    members: list[tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]] = [(entry(f"{name}.json"), text)]
    paths, seen = [], dict[bytes, str]()
    for number, layer in enumerate(layers):
        folder = f"{number:064x}"
        paths.append(f"{folder}/layer.tar")
        members.append(entry(folder, tarfile.DIRTYPE))
        if layer in seen:
            target = f"../{seen[layer]}/layer.tar"
            members.append(entry(paths[-1], tarfile.SYMTYPE, linkname=target))
        else:
            members.append((entry(paths[-1]), layer))
            seen[layer] = folder
    listed = [{"Config": f"{name}.json", "RepoTags": ["box:latest"], "Layers": paths}]
    members.append((entry("manifest.json"), json.dumps(listed).encode()))
    return tar(*members)


def busybox_layer(program: bytes, **more: bytes) -> bytes:
    """A root with busybox in it and a few of its commands."""
    commands = ("sh", "ls", "cat", "echo", "id", "env", "uname", "ps", "sleep", "poweroff")
    members: list[tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]] = [
        entry(name, tarfile.DIRTYPE) for name in ("bin", "etc", "root", "tmp")
    ]
    members.append((entry("bin/busybox", mode=0o755), program))
    members += [entry(f"bin/{c}", tarfile.SYMTYPE, linkname="busybox") for c in commands]
    members.append((entry("etc/passwd"), b"root:x:0:0:root:/root:/bin/sh\n"))
    members += [(entry(name.replace("__", "/")), data) for name, data in more.items()]
    return tar(*members)
