"""Which layers make up the image in an archive: OCI's layout, Docker's, or a plain root tree.

The documents are those of the OCI image specification 1.1 (image layout, index, manifest,
configuration), and ``manifest.json`` of ``docker save``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from banger.drivers.image.unpack.limits import (
    MAX_INDEX_DEPTH,
    MAX_INDEX_ENTRIES,
    MAX_LAYERS,
    Refused,
    shown,
)
from banger.drivers.image.unpack.members import Members, blob, document, mapping, sequence
from banger.drivers.image.unpack.window import Window

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
#: Media type of a layer -> its compression.
_LAYERS = {
    "application/vnd.oci.image.layer.v1.tar": "",
    "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
    "application/vnd.docker.image.rootfs.diff.tar": "",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
}
_DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}\Z")
_MAX_CONFIG = 32 * 1024
#: First bytes of a compressed file (RFC 1952, RFC 8878).
MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, lowest first. ``digest`` is that of its file, ``diff_id`` of it uncompressed;
    either may be empty where the archive tells none."""

    window: Window
    compression: str
    digest: str = ""
    diff_id: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The layers and the ``config`` object of the image's configuration."""

    layers: tuple[Layer, ...]
    config: dict[str, Any]


def compression_of(window: Window) -> str:
    """The compression that a file's first bytes tell; empty for none."""
    head = window.read(0, min(4, window.size))
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), "")


def find(members: Members, archive: Window | None, architecture: str) -> Found:
    """The image for ``architecture`` (as Go names it). Raises ``Refused``."""
    if "oci-layout" in members and "index.json" in members:
        return _oci(members, architecture)
    if "manifest.json" in members:
        return _docker(members, architecture)
    if archive is not None and not any(name.startswith("blobs/") for name in members):
        return Found((Layer(archive, ""),), {})
    raise Refused("it has neither an index.json with oci-layout nor a manifest.json")


def _oci(members: Members, architecture: str) -> Found:
    layout = mapping(document(members["oci-layout"], "oci-layout"), "oci-layout")
    if not str(layout.get("imageLayoutVersion", "")).startswith("1."):
        raise Refused("its layout is of an unknown version")
    index = mapping(document(members["index.json"], "index.json"), "index.json")
    chosen = _choose(members, index, architecture, frozenset())
    if len(chosen) != 1:
        names = sorted({_reference(entry) for entry in chosen} - {""})
        raise Refused(
            f"it holds {len(chosen)} images for linux/{architecture}"
            + (f": {', '.join(names[:6])}" if names else "")
        )
    descriptor = chosen[0]
    digest = str(descriptor["digest"])
    manifest = mapping(document(blob(members, descriptor), "the manifest", digest), "the manifest")
    described = mapping(manifest.get("config"), "the manifest's config")
    text = document(blob(members, described), "the configuration", str(described["digest"]))
    config = mapping(text, "the configuration")
    _check_platform(config, architecture)
    entries = sequence(manifest.get("layers"), "the manifest's list of layers")
    diff_ids = _diff_ids(config, len(entries))
    layers = []
    for entry, diff_id in zip(entries, diff_ids, strict=True):
        entry = mapping(entry, "a layer's descriptor")
        kind = str(entry.get("mediaType", ""))
        if kind not in _LAYERS:
            raise Refused(f"a layer is of the kind {shown(kind.encode())}: {_why(kind)}")
        window = blob(members, entry)
        if compression_of(window) != _LAYERS[kind]:
            raise Refused(f"a layer is not compressed as {kind} says")
        layers.append(Layer(window, _LAYERS[kind], str(entry["digest"]), diff_id))
    return Found(tuple(layers), _config(config))


def _why(kind: str) -> str:
    if "foreign" in kind or "nondistributable" in kind:
        return "its content is elsewhere"
    if "encrypted" in kind:
        return "it is encrypted"
    return "only tar, alone or in gzip or zstd, is known"


def _choose(
    members: Members, index: dict[str, Any], architecture: str, above: frozenset[str]
) -> list[dict[str, Any]]:
    entries = sequence(index.get("manifests"), "the index's list of manifests")
    if len(entries) > MAX_INDEX_ENTRIES:
        raise Refused(f"an index has {len(entries)} entries")
    chosen: dict[str, dict[str, Any]] = {}
    for entry in entries:
        entry = mapping(entry, "an entry of the index")
        kind, digest = str(entry.get("mediaType", _MANIFESTS[0])), str(entry.get("digest", ""))
        platform = mapping(entry.get("platform", {}), "a platform")
        if platform.get("os", "linux") != "linux":
            continue
        if platform.get("architecture", architecture) != architecture:
            continue
        if kind in _INDEXES:
            if digest in above or len(above) >= MAX_INDEX_DEPTH:
                raise Refused("its index leads through too many lists, or in a circle")
            inner = mapping(document(blob(members, entry), "an index", digest), "an index")
            for found in _choose(members, inner, architecture, above | {digest}):
                chosen.setdefault(str(found["digest"]), found)
        elif kind in _MANIFESTS:
            blob(members, entry)
            chosen.setdefault(digest, entry)
    return list(chosen.values())


def _reference(entry: dict[str, Any]) -> str:
    notes = entry.get("annotations")
    name = notes.get("org.opencontainers.image.ref.name", "") if isinstance(notes, dict) else ""
    return shown(str(name).encode(errors="replace"))


def _docker(members: Members, architecture: str) -> Found:
    images = sequence(document(members["manifest.json"], "manifest.json"), "manifest.json")
    if len(images) != 1:
        raise Refused(f"it holds {len(images)} images")
    image = mapping(images[0], "manifest.json's entry")
    name = str(image.get("Config"))
    if name not in members:
        raise Refused("its configuration is missing")
    # The name is the digest: HEX.json, or blobs/sha256/HEX of newer versions.
    named = re.search(r"(?:^|/)([0-9a-f]{64})(?:\.json)?\Z", name)
    if named is None:
        raise Refused(f"its configuration has the name {shown(name.encode(errors='replace'))}")
    text = document(members[name], "the configuration", f"sha256:{named[1]}")
    config = mapping(text, "the configuration")
    _check_platform(config, architecture)
    paths = sequence(image.get("Layers"), "manifest.json's list of layers")
    layers = []
    for path, diff_id in zip(paths, _diff_ids(config, len(paths)), strict=True):
        window = members.get(str(path))
        if window is None:
            raise Refused(f"the layer {shown(str(path).encode(errors='replace'))} is missing")
        layers.append(Layer(window, compression_of(window), "", diff_id))
    return Found(tuple(layers), _config(config))


def _check_platform(config: dict[str, Any], architecture: str) -> None:
    system, machine = config.get("os", "linux"), config.get("architecture", architecture)
    if (system, machine) != ("linux", architecture):
        raise Refused(f"it is for {system!r:.40} on {machine!r:.40}, not linux on {architecture}")


def _diff_ids(config: dict[str, Any], count: int) -> list[str]:
    rootfs = mapping(config.get("rootfs"), "the configuration's rootfs")
    found = sequence(rootfs.get("diff_ids"), "the configuration's list of layers")
    if not 1 <= count <= MAX_LAYERS:
        raise Refused(f"it has {count} layers")
    if len(found) != count:
        raise Refused(f"it has {count} layers, and its configuration speaks of {len(found)}")
    for value in found:
        if not isinstance(value, str) or not _DIFF_ID.match(value):
            raise Refused(f"{value!r:.100} is no SHA-256 digest")
    return found


def _config(config: dict[str, Any]) -> dict[str, Any]:
    """What is recorded of how a container of the image would be started, if it is sane."""
    found = config.get("config") or {}
    if not isinstance(found, dict):
        return {}
    kept: dict[str, Any] = {}
    for key in ("Env", "Entrypoint", "Cmd"):
        value = found.get(key)
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            kept[key] = value
    for key in ("WorkingDir", "User"):
        if isinstance(found.get(key), str):
            kept[key] = found[key]
    if len(json.dumps(kept)) > _MAX_CONFIG:
        raise Refused(f"its configuration has more than {_MAX_CONFIG} bytes to be kept")
    return kept
