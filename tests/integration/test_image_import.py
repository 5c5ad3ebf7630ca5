"""Archives of anybody's: the real confined reader, mke2fs and e2fsck, and a tree outside."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from banger.cli.image_archive import pack
from banger.drivers.image.base import BuildFolders, ImportedImage, ImportSpec
from banger.drivers.image.builder import DebianBuilder
from banger.drivers.image.importer import ArchiveImporter
from banger.drivers.image.seal import seal
from banger.errors import CorruptState, InvalidInput
from tests.fakes import archives
from tests.fakes.archives import docker, entry, files, oci, tar
from tests.fakes.evil_archives import CONTAINED, REFUSED
from tests.requirements import needs

pytestmark = needs("e2fsprogs")
GIB = 1024**3
RUN_AS = (65534, 65534) if os.geteuid() == 0 else None


class Desk:
    """Folders for one import, and a canary beside them."""

    def __init__(self, root: Path) -> None:
        self.outside = root / "outside"
        self.outside.mkdir()
        (self.outside / "canary").write_text("alive")
        self.home = root / "home"
        self.folders = BuildFolders(
            self.home / "target", self.home / "scratch", self.home / "debs", self.home / "log"
        )

    async def take(self, content: bytes | Path, base: Path | None = None) -> ImportedImage:
        """Import; afterwards ``image`` is there."""
        archive = content
        if isinstance(content, bytes):
            archive = self.outside.parent / "archive"
            archive.write_bytes(content)
        for folder in (self.folders.target, self.folders.scratch):
            folder.mkdir(parents=True)
        assert isinstance(archive, Path)
        spec = ImportSpec(archive, GIB, base)
        return await ArchiveImporter(RUN_AS).unpack(spec, self.folders, lambda *_: None)

    async def clear(self) -> None:
        await DebianBuilder(lambda *_: b"").clean(self.folders)

    @property
    def image(self) -> Path:
        return self.folders.target / "rootfs.ext4"

    def debugfs(self, *commands: str) -> str:
        script = "".join(f"{command}\n" for command in commands)
        argv = ["/usr/sbin/debugfs", "-f", "-", str(self.image)]
        done = subprocess.run(argv, input=script.encode(), capture_output=True, check=True)
        return done.stdout.decode(errors="replace")

    def cat(self, path: str) -> bytes:
        argv = ["/usr/sbin/debugfs", "-R", f"cat {path}", str(self.image)]
        return subprocess.run(argv, capture_output=True, check=True).stdout

    def names(self, path: str = "/") -> set[str]:
        lines = self.debugfs(f"ls -p {path}").splitlines()
        return {line.split("/")[5] for line in lines if line.startswith("/")} - {".", ".."}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def snapshot(folder: Path) -> list[tuple[str, int, bytes]]:
    return sorted(
        (str(p), p.lstat().st_mode, p.read_bytes() if p.is_file() else b"")
        for p in folder.rglob("*")
    )


@needs("zstd")
@pytest.mark.parametrize("name", REFUSED)
async def test_refused(desk: Desk, name: str) -> None:
    make, words = REFUSED[name]
    before = snapshot(desk.outside)
    with pytest.raises(InvalidInput) as caught:
        await desk.take(make(str(desk.outside)))
    error = caught.value
    assert words in error.cause
    assert error.resolution
    assert not any("\n" in line for line in (error.brief, error.cause, error.resolution))
    assert snapshot(desk.outside) == before
    await desk.clear()
    assert not list(desk.home.glob("*/*")), "something is left"


@pytest.mark.parametrize("name", CONTAINED)
async def test_contained(desk: Desk, name: str) -> None:
    before = snapshot(desk.outside)
    await desk.take(CONTAINED[name](str(desk.outside)))
    assert snapshot(desk.outside) == before
    assert (desk.outside / "canary").read_text() == "alive"
    assert desk.names() >= {"lost+found", ".banger"}


@needs("zstd")
@pytest.mark.parametrize("form", ["", "gzip", "zstd", "folder", "docker", "all in zstd"])
async def test_forms(desk: Desk, form: str) -> None:
    """Each form of the same image gives the same files."""
    first = files(etc__motd=b"one\n", etc__gone=b"x", opt__a=b"a", opt__b=b"b")
    second = tar(
        (entry("etc/motd"), b"two\n"), entry("etc/.wh.gone"), entry("opt/.wh..wh..opq"),
        (entry("opt/c"), b"c"), entry("hard", tarfile.LNKTYPE, linkname="etc/motd"),
    )  # fmt: skip
    layers, config = (first, second, second), {"Env": ["A=b"], "Cmd": ["sh"]}
    if form == "docker":
        taken = await desk.take(docker(*layers, config=config))
    elif form == "folder":
        layout = oci(*layers, compression="gzip", config=config)
        taken = await desk.take(layout.write(desk.outside / "layout"))
    elif form == "all in zstd":
        archive = oci(*layers, config=config).archive()
        taken = await desk.take(archives.compressed(archive, "zstd"))
    else:
        taken = await desk.take(oci(*layers, compression=form, config=config).archive())
    assert taken.container == config
    assert desk.cat("/etc/motd") == desk.cat("/hard") == b"two\n"
    assert (desk.names("/etc"), desk.names("/opt")) == ({"motd"}, {"c"})
    assert "Links: 2" in desk.debugfs("stat /hard")


async def test_a_plain_root_with_everything_in_it(desk: Desk) -> None:
    big = os.urandom(300_000)
    root = tar(
        (entry("bin/tool", mode=0o4755, uid=7, gid=70_000, mtime=2**32 + 5), big),
        entry("link", tarfile.SYMTYPE, linkname="bin/tool"),
        entry("long", tarfile.SYMTYPE, linkname="x/" * 200),
        entry("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        entry("dev/odd", tarfile.BLKTYPE, devmajor=259, devminor=70_000),
        entry("run/pipe", tarfile.FIFOTYPE),
        (entry("d/" + "n" * 200 + "/" + "m" * 200), b"deep"),
        entry("tmp", tarfile.DIRTYPE, mode=0o1777),
        *(entry(f"many/{'f' * 100}{number}") for number in range(2000)),
    )
    await desk.take(root)
    assert desk.cat("/bin/tool") == big
    facts = desk.debugfs("stat /bin/tool")
    assert "Mode:  04755" in facts
    assert "User:     7   Group: 70000" in facts
    assert "2106" in facts
    assert "x/x/x" in desk.debugfs("stat /long") or desk.cat("/long").startswith(b"x/x/")
    assert "Device major/minor number: 01:03" in desk.debugfs("stat /dev/null")
    assert "Device major/minor number: 259:70000" in desk.debugfs("stat /dev/odd")
    assert "Type: FIFO" in desk.debugfs("stat /run/pipe")
    assert "Mode:  01777" in desk.debugfs("stat /tmp")
    assert len(desk.names("/many")) == 2000


async def test_capabilities_stay_and_other_attributes_go(desk: Desk) -> None:
    await desk.take(CONTAINED["attributes"]("/"))
    listed = desk.debugfs("ea_list /ping")
    assert "security.capability (20)" in listed
    assert "user.note" not in listed
    assert "trusted" not in listed


async def test_sparse_files_of_gnu_tar(desk: Desk, tmp_path: Path) -> None:
    """All forms that tar writes, against the file itself; holes take no room."""
    source = tmp_path / "tree"
    source.mkdir()
    with (source / "holes").open("wb") as file:
        for offset in range(0, 200 << 20, 20 << 20):
            file.seek(offset + 12345)
            file.write(os.urandom(9000))
        file.truncate(300 << 20)
    wanted = (source / "holes").read_bytes()
    for form in ("--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1",
                 "--sparse-version=1.0"):  # fmt: skip
        more = [] if form.endswith("gnu") else ["--format=posix"]
        archive = tmp_path / "sparse.tar"
        subprocess.run(
            ["tar", "-C", source, "--sparse", form, *more, "-cf", archive, "."], check=True
        )
        await desk.take(archive)
        assert desk.cat("/holes") == wanted, form
        assert desk.image.stat().st_blocks * 512 < 40 << 20
        await desk.clear()


async def test_twice_the_same_bytes(desk: Desk) -> None:
    digests = set()
    for _ in range(2):
        layers = (files(a=os.urandom(0), b=b"x" * 99_999), files(c__d=b"y"))
        await desk.take(oci(*layers, compression="gzip").archive())
        digests.add(seal(desk.folders.target))
        await desk.clear()
    assert len(digests) == 1


@pytest.mark.parametrize("in_gzip", [False, True])
async def test_an_export_comes_back(desk: Desk, tmp_path: Path, *, in_gzip: bool) -> None:
    """Byte for byte, and what was changed on the way is refused."""
    await desk.take(oci(files(etc__motd=b"there and back\n")).archive())
    folder = desk.folders.target
    (folder / "vmlinux").write_bytes(b"\x7fELF kernel")
    _, known = seal(folder)
    text = f'{{"meta": {{"rootfs_sha256": "{known}", "suite": "", "carries_agent": true}}}}'
    (folder / "image.json").write_text(text)
    out = tmp_path / "export"
    with out.open("wb") as file:
        pack(folder, file, in_gzip=in_gzip)
    assert out.stat().st_size < 10 << 20
    assert ArchiveImporter(RUN_AS).brings_kernel(out)
    if not in_gzip:
        # GNU tar knows the form as well.
        listed = subprocess.run(["tar", "-tvf", out], capture_output=True, text=True, check=True)
        assert f"{GIB} " in listed.stdout
    await desk.clear()
    taken = await desk.take(out)
    assert (taken.exported_sha256, taken.carries_agent, taken.own_boot) == (known, True, False)
    assert seal(desk.folders.target)[1] == known
    assert (folder / "vmlinux").read_bytes() == b"\x7fELF kernel"
    await desk.clear()
    if not in_gzip:
        data = bytearray(out.read_bytes())
        at = data.index(b"\x7fELF kernel")
        data[at : at + 4] = b"\x7fELG"
        with pytest.raises(InvalidInput, match="cannot be imported") as caught:
            await desk.take(bytes(data))
        assert "vmlinux" in caught.value.cause


async def test_a_list_of_manifests(desk: Desk) -> None:
    """The one for this machine is taken, notes about it are passed over."""
    wanted, other = oci(files(a=b"here")), oci(files(a=b"there"))
    wanted.blobs.update(other.blobs)
    entries = [
        {**other.index["manifests"][0], "platform": {"os": "linux", "architecture": "arm64"}},
        {**wanted.index["manifests"][0], "platform": {"os": "linux", "architecture": "amd64"}},
        {**other.index["manifests"][0], "platform": {"os": "unknown", "architecture": "unknown"}},
    ]
    wanted.index["manifests"] = [wanted.document({"manifests": entries}, archives.INDEX)]
    await desk.take(wanted.archive())
    assert desk.cat("/a") == b"here"


async def test_a_base_that_holds_no_file_system(desk: Desk, tmp_path: Path) -> None:
    """Nobody is left to wonder why the agent is not there."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base/rootfs.ext4").write_bytes(b"nothing")
    with pytest.raises(CorruptState, match="cannot be read"):
        await desk.take(oci(files(a=b"x")).archive(), tmp_path / "base")


async def test_parts_of_a_base_that_only_its_owner_may_read(desk: Desk, tmp_path: Path) -> None:
    """Links are followed in the base, and what it lacks is left out."""
    base = tmp_path / "base"
    tree = tmp_path / "tree"
    for name in (
        "usr/bin/python3.11",
        "usr/lib/x86_64-linux-gnu/libz.so.1.2",
        "usr/lib/python3.11/os.py",
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    (tree / "usr/bin/python3").symlink_to("python3.11")
    (tree / "usr/lib/x86_64-linux-gnu/libz.so.1").symlink_to("libz.so.1.2")
    base.mkdir()
    argv = [
        "/usr/sbin/mke2fs",
        "-q",
        "-t",
        "ext4",
        "-d",
        str(tree),
        str(base / "rootfs.ext4"),
        "16M",
    ]
    subprocess.run(argv, check=True)
    (base / "rootfs.ext4").chmod(0o400)
    taken = await desk.take(oci(files(a=b"x")).archive(), base)
    assert taken.carries_agent
    assert desk.cat("/.banger/python/python3") == b"usr/bin/python3.11"
    assert desk.cat("/.banger/python/lib/libz.so.1").endswith(b"libz.so.1.2")
    assert desk.cat("/.banger/python/lib/python3.11/os.py") == b"usr/lib/python3.11/os.py"
