"""``image import`` and ``image export`` against the fake daemon."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from banger.cli.image_archive import data_pieces, pack
from banger.cli.image_import import name_of
from banger.errors import Conflict, InvalidInput
from tests.fakes.cli_home import CLIHome


def test_import(banger: CLIHome) -> None:
    banger.fake.add_image("debian")
    archive = banger.root / "Alpine_3.19.tar.gz"
    archive.write_text("x")
    made = banger("image", "import", str(archive), "--size", "4G")
    assert (made.status, made.stdout) == (0, "imported alpine-3-19 (700 MiB on disk)\n")
    assert banger.sent("POST", "/v1/images:import") == [
        {"name": "alpine-3-19", "archive": str(archive), "size_bytes": 4 << 30}
    ]
    again = banger("image", "import", str(archive))
    assert (again.status, len(again.stderr.splitlines())) == (5, 3)
    assert banger("image", "import", str(archive), "--name", "other", "-q").stdout == "other\n"
    assert banger("image", "import", str(archive), "--name", "Not A Name").status == 2
    assert banger("image", "import", "nothing.tar").status == 2


def test_the_default_image_is_built_first(banger: CLIHome) -> None:
    archive = banger.root / "box.tar"
    archive.write_text("x")
    made = banger("image", "import", str(archive))
    assert made.status == 0
    assert "the image debian is built first" in made.stderr
    asked = [body["name"] for body in banger.sent("POST", "/v1/images")]
    assert asked == ["box", "debian", "box"]


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/Box.tar", "box"), ("layout/", "layout"), ("my.app.oci.tar.zst", "my-app"), ("x.tgz", "x")],
)
def test_names(path: str, name: str) -> None:
    assert name_of(path) == name


def test_a_file_that_names_nothing() -> None:
    with pytest.raises(InvalidInput, match="needs a name") as caught:
        name_of("/tmp/.tar")
    assert "--name" in caught.value.resolution


def image_folder(folder: Path) -> Path:
    folder.mkdir()
    with (folder / "rootfs.ext4").open("wb") as file:
        file.truncate(64 << 20)
        for place in (0, 20 << 20, (64 << 20) - 4096):
            file.seek(place)
            file.write(b"\xa5" * 4096)
    (folder / "vmlinux").write_bytes(b"\x7fELF")
    (folder / "image.json").write_text('{"meta": {"suite": "bookworm", "id": "x"}}')
    return folder


def test_export(banger: CLIHome) -> None:
    folder = image_folder(banger.root / "image")
    banger.fake.add_image("box", directory=str(folder))
    out = banger.root / "out.tar"
    made = banger("image", "export", "box", "--out", str(out))
    assert (made.status, made.stdout.startswith(f"exported box to {out} (")) == (0, True)
    with tarfile.open(out) as archive:
        record = json.loads(archive.extractfile("banger-image.json").read())  # type: ignore[union-attr]
        assert (record["format"], record["suite"], "id" in record) == (1, "bookworm", False)
        assert archive.getnames() == ["banger-image.json", "vmlinux", "rootfs.ext4"]
        content = archive.extractfile("rootfs.ext4").read()  # type: ignore[union-attr]
    assert content == (folder / "rootfs.ext4").read_bytes()
    assert out.stat().st_size < 1 << 20
    again = banger("image", "export", "box", "--out", str(out))
    assert (again.status, len(again.stderr.splitlines())) == (2, 3)
    assert not list(banger.root.glob("*.part"))
    assert banger("image", "export", "box", "--out", "/nowhere/x").status == 9
    assert banger("image", "export", "bix").status == 4
    zipped = banger.root / "out.tar.gz"
    assert banger("image", "export", "box", "--gzip", "-q", "-o", str(zipped)).status == 0
    with tarfile.open(zipped) as archive:
        assert archive.getnames()[0] == "banger-image.json"


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "image")
    written = []
    for _ in range(2):
        target = io.BytesIO()
        pack(folder, target, in_gzip=True)
        written.append(target.getvalue())
    assert written[0] == written[1]


def test_modules_of_ones_own_are_not_exported(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "image")
    (folder / "modules").mkdir()
    with pytest.raises(Conflict, match="cannot be exported"):
        pack(folder, io.BytesIO(), in_gzip=False)


def test_pieces_of_a_file_without_holes(tmp_path: Path) -> None:
    path = tmp_path / "full"
    path.write_bytes(b"x" * 10_000)
    with path.open("rb") as file:
        assert list(data_pieces(file.fileno(), 10_000)) == [(0, 10_000)]
