"""Archives that somebody made to do harm, each by its name; all are made here, none is stored.

``REFUSED`` is (archive, words of the cause); ``CONTAINED`` are odd and harmless, and are unpacked
without anything outside the new file system being touched.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
from collections.abc import Callable

from tests.fakes.archives import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    Layout,
    configuration,
    digest,
    docker,
    entry,
    files,
    oci,
    tar,
)

#: Given the path of a folder outside that must stay as it is.
Maker = Callable[[str], bytes]
DIR, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
OK = files(etc__hostname=b"box\n")


def _layer(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> Maker:
    return lambda _outside: oci(tar(*members)).archive()


def _raw(change: Callable[[bytearray], None], *, checksum: bool = True) -> Maker:
    """A layer of one file whose header is changed, and then sums up again."""

    def make(_outside: str) -> bytes:
        layer = bytearray(files(victim=b"x" * 600))
        change(layer)
        if checksum:
            layer[148:156] = b" " * 8
            layer[148:156] = b"%06o\0 " % sum(layer[:512])
        return oci(bytes(layer)).archive()

    return make


def _set(at: int, value: bytes) -> Callable[[bytearray], None]:
    def change(layer: bytearray) -> None:
        layer[at : at + len(value)] = value

    return change


def _pax(*records: bytes, raw: bytes | None = None) -> Maker:
    """A layer with an extended header of these records."""

    def make(_outside: str) -> bytes:
        data = raw if raw is not None else b"".join(_record(record) for record in records)
        head = tar((entry("x", tarfile.XHDTYPE), data), form=tarfile.USTAR_FORMAT)
        head = head[: 512 + len(data) + -len(data) % 512]
        return oci(head + files(victim=b"x" * 600)).archive()

    return make


def _record(record: bytes) -> bytes:
    length = len(record) + 2
    while len(str(length)) + len(record) + 2 != length:
        length = len(str(length)) + len(record) + 2
    return b"%d %s\n" % (length, record)


def _spoil(change: Callable[[Layout], None]) -> Maker:
    def make(_outside: str) -> bytes:
        layout = oci(OK, compression="gzip")
        change(layout)
        return layout.archive()

    return make


def _manifest(change: Callable[[dict[str, object]], None]) -> Maker:
    """A layout whose manifest is changed, with every digest above it right again."""

    def make(_outside: str) -> bytes:
        layout = oci(OK)
        described = layout.index["manifests"][0]
        manifest = json.loads(layout.blobs.pop(described["digest"]))
        change(manifest)
        layout.index["manifests"] = [layout.document(manifest, MANIFEST)]
        return layout.archive()

    return make


def _loop(layout: Layout) -> None:
    """An index that names itself cannot have a right digest, so this one lies about it."""
    layout.index["manifests"] = [layout.document({"manifests": []}, INDEX)]
    layout.index["manifests"][0]["digest"] = digest(b"loop")
    text = json.dumps({"manifests": [{"mediaType": INDEX, "digest": digest(b"loop"), "size": 1}]})
    layout.blobs[digest(b"loop")] = text.encode()
    layout.index["manifests"][0]["size"] = len(text)


def _deep(layout: Layout) -> None:
    for _ in range(6):
        described = layout.document({"manifests": layout.index["manifests"]}, INDEX)
        layout.index["manifests"] = [described]


def _many_layers(_outside: str) -> bytes:
    layers = [files(**{f"file{number}": b"x"}) for number in range(128)]
    return oci(*layers).archive()


def _gzip_bomb(_outside: str) -> bytes:
    """64 MiB of zeros in 64 KiB."""
    layer = tar((entry("zeros"), bytes(64 << 20)))
    return oci(layer, compression="gzip").archive()


def _zstd_bomb(_outside: str) -> bytes:
    layer = tar((entry("zeros"), bytes(64 << 20)))
    return oci(layer, compression="zstd").archive()


def _outer_gzip_bomb(_outside: str) -> bytes:
    return gzip.compress(bytes(64 << 20))


def _chain(length: int) -> Maker:
    links = [entry(f"l{n}", LINK, linkname=f"l{n + 1}") for n in range(length)]
    return _layer(*links, entry(f"l{length}", DIR), (entry("l0/file"), b"x"))


def _sparse_bomb(_outside: str) -> bytes:
    """A file of one terabyte that holds nothing (GNU's old form)."""
    layer = bytearray(tar(entry("hole", tarfile.GNUTYPE_SPARSE),
                          form=tarfile.GNU_FORMAT))  # fmt: skip
    layer[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    layer[148:156] = b" " * 8
    layer[148:156] = b"%06o\0 " % sum(layer[:512])
    return oci(bytes(layer)).archive()


def _two_manifests(layout: Layout) -> None:
    other = oci(files(other=b"x"))
    layout.blobs.update(other.blobs)
    layout.index["manifests"] += other.index["manifests"]


def _truncated(_outside: str) -> bytes:
    archive = oci(OK).archive()
    return archive[: len(archive) // 2 - 100]


def _dup_index(_outside: str) -> bytes:
    """A second index.json, for readers that take the first and check the last."""
    members = oci(OK).members()
    pairs = [(entry(name), data) for name, data in members.items()]
    return tar(*pairs, (entry("index.json"), members["index.json"]))


def _layer_kind(kind: str) -> Maker:
    def change(manifest: dict[str, object]) -> None:
        manifest["layers"][0]["mediaType"] = kind  # type: ignore[index]

    return _manifest(change)


def _wrong_platform(_outside: str) -> bytes:
    layout = Layout()
    config = {**configuration([OK]), "architecture": "riscv64"}
    manifest = {
        "config": layout.document(config, CONFIG),
        "layers": [layout.add(OK, LAYER)],
    }
    layout.index["manifests"] = [layout.document(manifest, MANIFEST)]
    return layout.archive()


def _wrong_size(layout: Layout) -> None:
    layout.index["manifests"][0]["size"] += 1


def _changed_blob(layout: Layout) -> None:
    name = next(name for name, data in layout.blobs.items() if data.startswith(b"\x1f\x8b"))
    data = bytearray(layout.blobs[name])
    data[-6] ^= 1
    layout.blobs[name] = bytes(data)


def _diff_id(_outside: str) -> bytes:
    layout = Layout()
    manifest = {
        "config": layout.document(configuration([b"something else"]), CONFIG),
        "layers": [layout.add(OK, LAYER)],
    }
    layout.index["manifests"] = [layout.document(manifest, MANIFEST)]
    return layout.archive()


def _escaping_digest(layout: Layout) -> None:
    layout.index["manifests"][0]["digest"] = "sha256:../../../../etc/passwd"


def _docker_traversal(_outside: str) -> bytes:
    text = json.dumps(configuration([OK])).encode()
    name = digest(text).removeprefix("sha256:")
    listed = [{"Config": f"{name}.json", "Layers": ["../../../../etc/passwd"]}]
    return tar((entry(f"{name}.json"), text), (entry("manifest.json"), json.dumps(listed).encode()))


def _docker_link_out(_outside: str) -> bytes:
    archive = io.BytesIO(docker(OK))
    with tarfile.open(fileobj=archive) as source:
        members = [m for m in source if not m.name.endswith("layer.tar")]
        kept = [(m, data.read()) for m in members if (data := source.extractfile(m))]
    layer = entry(f"{0:064x}/layer.tar", LINK, linkname="../../../../../etc/passwd")
    return tar(*kept, layer)


def _numbered(head: tarfile.TarInfo, count: int) -> bytes:
    """So many entries that differ in the five digits of their names; tarfile takes seconds."""
    block = head.tobuf(tarfile.USTAR_FORMAT)
    start, rest = block[:1], block[6:148]
    total = sum(start + rest + block[156:]) + 8 * 32
    made = []
    for number in range(count):
        digits = b"%05d" % number
        checksum = b"%06o\0 " % (total + sum(digits))
        made.append(b"".join((start, digits, rest, checksum, block[156:])))
    return b"".join(made) + bytes(1024)


def _many_hard_links(_outside: str) -> bytes:
    first = tar((entry("file"), b"x"))[:1024]
    links = _numbered(entry("h00000", HARD, linkname="file"), 65_001)
    return oci(first + links).archive()


def _too_many_files(_outside: str) -> bytes:
    """More files than the file system has inodes."""
    return oci(_numbered(entry("f00000"), 66_000)).archive()


REFUSED: dict[str, tuple[Maker, str]] = {
    "traversal": (_layer((entry("../../evil"), b"x")), "leads up"),
    "traversal in the middle": (_layer((entry("a/../../../evil"), b"x")), "leads up"),
    "traversal by a folder": (_layer(entry("..", DIR)), "leads up"),
    "hard link to a file outside": (_layer(entry("h", HARD, linkname="/etc/passwd")), "no file"),
    "hard link that leads up": (_layer(entry("h", HARD, linkname="../../etc/passwd")), "leads up"),
    "hard link through a link": (
        _layer(entry("l", LINK, linkname="/etc"), entry("h", HARD, linkname="l/passwd")),
        "no file before it",
    ),
    "hard link to what comes later": (
        _layer(entry("h", HARD, linkname="f"), (entry("f"), b"x")),
        "no file before it",
    ),
    "hard link to itself": (_layer(entry("h", HARD, linkname="h")), "no file before it"),
    "hard link to a folder": (_layer(entry("d", DIR), entry("h", HARD, linkname="d")), "no file"),
    "65,001 hard links": (_many_hard_links, "more than 65000 names"),
    "links in a circle": (
        _layer(
            entry("a", LINK, linkname="b"), entry("b", LINK, linkname="a"), (entry("a/file"), b"x")
        ),
        "too many links",
    ),
    "41 links in a chain": (_chain(41), "too many links"),
    "a file in a file": (_layer((entry("f"), b"x"), (entry("f/g"), b"x")), "no folder"),
    "whiteout of ..": (_layer(entry("etc/.wh...")), "takes away"),
    "whiteout of .": (_layer(entry("etc/.wh..")), "takes away"),
    "whiteout of nothing": (_layer(entry("etc/.wh.")), "takes away"),
    "a file below a whiteout": (_layer((entry("etc/.wh.x/file"), b"x")), "taken away"),
    "no name": (_raw(_set(0, bytes(100))), "no name"),
    "a name of 256 bytes": (_layer((entry("n" * 256), b"x")), "256 bytes"),
    "a path of 5,000 bytes": (_layer((entry("d/" * 2500), b"x")), "has 5"),
    "a zero byte in a name": (_pax(b"path=etc\0/passwd"), "zero byte"),
    "a zero byte in a link": (_pax(b"linkpath=etc\0/passwd"), "zero byte"),
    "an unknown kind": (_raw(_set(156, b"Z")), "unknown kind"),
    "a device that no kernel has": (
        _layer(entry("d", tarfile.CHRTYPE, devmajor=5000, devminor=1)),
        "device",
    ),
    "a negative size": (_raw(_set(124, b"\xff" * 12)), "negative"),
    "a negative size in pax": (_pax(b"size=-512"), "size=-512"),
    "a size of words": (_raw(_set(124, b"notanumber\0\0")), "number"),
    "a size beyond the end": (_raw(_set(124, b"\x80" + (1 << 33).to_bytes(11, "big"))), "middle"),
    "a huge size in pax": (_pax(b"size=9999999999999"), "middle"),
    "an owner of words": (_raw(_set(108, b"nobody\0\0")), "number"),
    "a negative owner": (_raw(_set(108, b"\xff" * 8)), "id -1"),
    "a huge pax header": (_pax(b"comment=" + b"x" * 300_000), "extended header has"),
    "a pax header without length": (_pax(raw=b"path=etc/passwd\n"), "malformed"),
    "a pax header that ends too early": (_pax(raw=b"9999 path=x\n"), "malformed"),
    "a pax header of nobody": (
        lambda _: oci(tar((entry("x", tarfile.XHDTYPE), _record(b"path=x")))[:1024]).archive(),
        "next entry",
    ),
    "a damaged header": (_raw(_set(0, b"VICTIM"), checksum=False), "damaged"),
    "garbage": (lambda _: oci(b"\xa5" * 4096).archive(), "number"),
    "a sparse bomb": (_sparse_bomb, "1099511627776 bytes"),
    "a sparse map out of order": (
        _pax(b"GNU.sparse.major=0", b"GNU.sparse.size=600", b"GNU.sparse.map=300,300,0,300"),
        "out of order",
    ),
    "a sparse map of more than there is": (
        _pax(b"GNU.sparse.size=99999", b"GNU.sparse.map=0,9999"),
        "more than is there",
    ),
    "a sparse map without end": (
        _pax(b"GNU.sparse.major=1", b"GNU.sparse.minor=0", b"GNU.sparse.realsize=600"),
        "sparse",
    ),
    "a gzip bomb": (_gzip_bomb, "unpacks to more than"),
    "a zstd bomb": (_zstd_bomb, "unpacks to more than"),
    "a gzip bomb around it": (_outer_gzip_bomb, "unpacks to more than"),
    "compressed twice": (lambda _: gzip.compress(gzip.compress(OK)), "twice"),
    "damaged gzip": (lambda _: gzip.compress(OK)[:-100], "ends too early"),
    "no layers": (_manifest(lambda m: m.update(layers=[])), "0 layers"),
    "128 layers": (_many_layers, "128 layers"),
    "a wrong digest": (_spoil(_changed_blob), "digest"),
    "a wrong digest inside": (_diff_id, "digest"),
    "a wrong size": (_spoil(_wrong_size), "bytes instead of"),
    "a digest that is a path": (_spoil(_escaping_digest), "no SHA-256 digest"),
    "a missing blob": (_spoil(lambda layout: layout.blobs.clear()), "missing"),
    "a foreign layer": (
        _layer_kind("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        "elsewhere",
    ),
    "an encrypted layer": (
        _layer_kind("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
        "encrypted",
    ),
    "a layer of no known kind": (_layer_kind("text/html"), "only tar"),
    "a layer that is not compressed as it says": (_layer_kind(LAYER + "+gzip"), "compressed"),
    "an index in a circle": (_spoil(_loop), "digest"),
    "indexes six deep": (_spoil(_deep), "too many lists"),
    "two images": (_spoil(_two_manifests), "2 images"),
    "no image for this machine": (_wrong_platform, "riscv64"),
    "an index that is no JSON": (
        lambda _: tar((entry("oci-layout"), b"{}"), (entry("index.json"), b"{" * 100_000)),
        "version",
    ),
    "JSON a hundred thousand deep": (
        lambda _: tar(
            (entry("oci-layout"), b'{"imageLayoutVersion": "1.0.0"}'),
            (entry("index.json"), b"[" * 100_000),
        ),
        "no JSON",
    ),
    "an index of 5 MiB": (
        lambda _: tar(
            (entry("oci-layout"), b'{"imageLayoutVersion": "1.0.0"}'),
            (entry("index.json"), b" " * (5 << 20)),
        ),
        "5242880 bytes",
    ),
    "two index.json": (_dup_index, "two files"),
    "cut in the middle": (_truncated, "ends"),
    "docker: a layer that is a path outside": (_docker_traversal, "missing"),
    "docker: a link to outside": (_docker_link_out, "missing"),
    "more files than inodes": (_too_many_files, "room for"),
    "empty": (lambda _: b"", "nothing in it"),
    "zeros": (lambda _: bytes(10240), "nothing in it"),
    "a picture": (lambda _: b"\x89PNG\r\n\x1a\n" + b"\0" * 2000, "damaged"),
}


def _outside_by_link(outside: str) -> bytes:
    """A link to outside, and then a file through it."""
    layer = tar(entry("door", LINK, linkname=outside), (entry("door/canary"), b"dead"))
    return oci(layer).archive()


def _outside_in_two_layers(outside: str) -> bytes:
    first = tar(entry("door", LINK, linkname="../../../../../../.." + outside))
    return oci(first, tar((entry("door/canary"), b"dead"))).archive()


def _whiteout_outside(outside: str) -> bytes:
    first = tar(entry("door", LINK, linkname=outside))
    return oci(first, tar(entry("door/.wh.canary"), entry("door/.wh..wh..opq"))).archive()


def _absolute(outside: str) -> bytes:
    return oci(tar((entry(f"{outside}/canary"), b"dead"))).archive()


def _hard_link_absolute(outside: str) -> bytes:
    layer = tar((entry("file"), b"alive"), entry(f"{outside}/canary", HARD, linkname="/file"))
    return oci(layer).archive()


def _replaced(outside: str) -> bytes:
    """A folder, a link in its place, a file through that, and a folder again."""
    layer = tar(
        entry("d", DIR),
        entry("d", LINK, linkname=outside),
        (entry("d/canary"), b"dead"),
        entry("d", DIR),
        (entry("d/canary"), b"contained"),
    )
    return oci(layer).archive()


def _control(_outside: str) -> bytes:
    return oci(tar((entry("a\x1b[31m\nb"), b"x"), (entry("caf\udce9"), b"x"))).archive()


def _devices(_outside: str) -> bytes:
    layer = tar(
        entry("dev/sda", tarfile.BLKTYPE, devmajor=8, devminor=0),
        entry("dev/mem", tarfile.CHRTYPE, devmajor=1, devminor=1),
        entry("dev/big", tarfile.CHRTYPE, devmajor=260, devminor=70000),
        entry("pipe", tarfile.FIFOTYPE),
        (entry("su", mode=0o4755), b"x"),
    )
    return oci(layer).archive()


def _attributes(_outside: str) -> bytes:
    capability = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
    keys = {
        "SCHILY.xattr.security.capability": capability.decode("latin-1"),
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.user.note": "x" * 10_000,
    }
    return oci(tar((entry("ping", pax_headers=keys), b"x"))).archive()


CONTAINED: dict[str, Maker] = {
    "an absolute path": _absolute,
    "a link to outside, then a file through it": _outside_by_link,
    "the same in two layers": _outside_in_two_layers,
    "whiteouts through a link": _whiteout_outside,
    "an absolute hard link": _hard_link_absolute,
    "a folder that becomes a link and a folder again": _replaced,
    "a name twice": _layer((entry("f"), b"1"), (entry("f"), b"2")),
    "a folder that becomes a file": _layer((entry("d/f"), b"1"), (entry("d"), b"2")),
    "control characters and bytes that are no text": _control,
    "devices, a pipe and setuid": _devices,
    "attributes": _attributes,
    "40 links in a chain": _chain(39),
    "a time after the end of time": _layer((entry("f", mtime=2**40), b"1")),
    "lost+found, .banger": _layer((entry("lost+found/x"), b"1"), entry(".banger", LINK,
                                                                      linkname="/etc")),
}  # fmt: skip
