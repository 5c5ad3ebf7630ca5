"""Real customisations: what of a base survives, and what its programs can do to the host."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from banger.drivers.guest.initrd import build_initrd
from banger.drivers.image import workspace
from banger.drivers.image.base import BuildFolders, BuiltImage
from banger.drivers.image.builder import DebianBuilder
from banger.drivers.image.digest import content_sha256
from banger.drivers.image.ext4.extract import Extraction
from banger.drivers.image.ext4.volume import Volume
from banger.drivers.image.offline_apt import INSTALL
from banger.drivers.image.user_namespace import UserNamespace
from banger.errors import BangerError, InvalidInput
from banger.host.command import Command, run
from banger.host.kernel_version import kernel_version
from banger.model.image import Customization
from tests.integration.test_image_build import user_with_home
from tests.plugins.built_image import cache
from tests.requirements import needs

MIB = 1 << 20
SYSTEM = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}

pytestmark = needs("root", "userns", "e2fsprogs")


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder that other users may pass through, as pytest's own may not be."""
    top = Path(tempfile.mkdtemp(prefix="bgr-image-"))
    top.chmod(0o755)
    yield top
    shutil.rmtree(top)


def folders_in(top: Path) -> BuildFolders:
    made = BuildFolders(
        top / "target", top / "scratch", cache() / "packages/banger/debs", top / "log"
    )
    for folder in (made.target, made.scratch, made.debs):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return made


def customize(top: Path, wanted: Customization) -> BuiltImage:
    folders = folders_in(top)

    async def work() -> BuiltImage:
        return await DebianBuilder(build_initrd).customize(wanted, folders, lambda *_: None)

    before = os.umask(0o077)  # the daemon's
    try:
        return asyncio.run(work())
    finally:
        os.umask(before)
        mark = workspace.mark(folders.scratch)
        assert not [p for p in ("/dev/shm", "/var/tmp") if (Path(p) / mark).exists()]
        assert mark not in Path("/proc/self/mounts").read_text()


def odd_tree(top: Path) -> Path:
    """One of everything that only root can make."""
    tree = top / "odd"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/plain").write_bytes(b"plain\n")
    (tree / "etc/plain").chmod(0o4751)
    os.chown(tree / "etc/plain", 1234, 65534)
    (tree / "etc/plain").chmod(0o4751)
    os.link(tree / "etc/plain", tree / "linked")
    (tree / "etc/a link").symlink_to("/etc/../nowhere/at all")
    os.lchown(tree / "etc/a link", 7, 8)
    os.mkfifo(tree / "pipe", 0o622)
    (tree / "sticky").mkdir()
    (tree / "sticky").chmod(0o3777)
    (tree / "dev").mkdir()
    os.mknod(tree / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(tree / "dev/odd disk", stat.S_IFBLK | 0o640, os.makedev(259, 12))
    os.chown(tree / "dev/odd disk", 0, 6)
    with (tree / "sparse").open("wb") as file:
        file.truncate(300 * MIB)
        file.seek(200 * MIB)
        file.write(b"island")
    for name, value in (("user.note", b"\0\1 text"), ("trusted.secret", b"x" * 300)):
        os.setxattr(tree / "etc/plain", name, value)
    # cap_net_raw+ep, in the second form (linux/capability.h).
    os.setxattr(
        tree / "linked", "security.capability", bytes.fromhex("01000002" + "0020" + "00" * 14)
    )
    (tree / "name \xe4 \u2713").touch()
    os.utime(tree / "etc/plain", (1, 1_500_000_000))
    return tree


def mke2fs(tree: Path, image: Path, *options: str) -> Path:
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", *options, "-d", str(tree), str(image), "64M"]
    subprocess.run(argv, check=True, env=SYSTEM, capture_output=True)
    return image


def facts(image: Path, top: Path) -> dict[str, tuple[object, ...]]:
    """What the kernel says of each file of an image, taken out by root without any confinement."""
    target = Path(tempfile.mkdtemp(dir=top))
    script = (
        "import os,sys\nfrom banger.drivers.image.ext4.extract import Extraction\n"
        "from banger.drivers.image.ext4.volume import Volume\n"
        "fd=os.open(sys.argv[1],os.O_RDONLY);os.chroot(sys.argv[2]);os.chdir('/')\n"
        "e=Extraction(Volume(fd));e.everything()\n"
        "for k in e.kept:\n"
        " p=bytes.fromhex(k['path'])\n"
        " if k['kind']!='x':\n"
        "  d=os.path.dirname(p);s=os.stat(d)\n"
        "  os.mknod(p,k['mode'],os.makedev(k['major'],k['minor']));os.chown(p,k['uid'],k['gid'])\n"
        "  os.utime(p,(1,k['mtime']))\n"
        "  os.utime(d,ns=(s.st_mtime_ns,s.st_mtime_ns))\n"
        "  os.chmod(p,k['mode']&0o7777)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(image), str(target)], check=True)
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for path in sorted(target.rglob("*")):
        name = str(path.relative_to(target))
        if name == "lost+found":
            continue
        status = path.lstat()
        first = inodes.setdefault(status.st_ino, name)
        attributes = {n: os.getxattr(path, n, follow_symlinks=False).hex()
                      for n in os.listxattr(path, follow_symlinks=False)}  # fmt: skip
        kind = stat.S_IFMT(status.st_mode)
        content: object = status.st_rdev
        if stat.S_ISREG(kind):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(kind):
            content = os.readlink(path)  # noqa: PTH115 - as it is, odd or not
        time = int(status.st_mtime)
        found[name] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            first,
            attributes,
            content,
            time,
        )
    shutil.rmtree(target)
    return found


@pytest.fixture
def wanted(built_image: Path) -> Customization:
    """Nothing but another size, on the kernel of the default image."""
    return Customization(
        name="made",
        rootfs=str(built_image / "rootfs.ext4"),
        size_bytes=1024 * MIB,
        kernel=str(built_image / "vmlinux"),
        initrd=str(built_image / "initrd.cpio"),
    )


@needs("image")
def test_everything_of_a_base_is_kept(wanted: Customization, short: Path) -> None:
    base = mke2fs(odd_tree(short), short / "base.ext4", "-b", "1024")
    before = facts(base, short)
    assert before["dev/odd disk"][5] == os.makedev(259, 12)
    assert set(before["linked"][4]) == {"user.note", "trusted.secret", "security.capability"}  # type: ignore[call-overload]
    built = customize(short, replace(wanted, rootfs=str(base)))
    made = short / "target/rootfs.ext4"
    assert facts(made, short) == before
    assert made.stat().st_size == built.size_bytes == 1024 * MIB
    # The hole stayed one.
    assert built.allocated_bytes < 40 * MIB
    assert (built.kernel_version, built.package_count) == (kernel_version(Path(wanted.kernel)), 0)
    for name in ("vmlinux", "initrd.cpio"):
        assert (short / "target" / name).read_bytes() == (
            Path(wanted.rootfs).parent / name
        ).read_bytes()
    # Done again, it is the same to the last bit.
    shutil.rmtree(short / "target")
    assert customize(short, replace(wanted, rootfs=str(base))).rootfs_sha256 == built.rootfs_sha256


@needs("image")
def test_modules_come_along_with_a_kernel_of_another_image(
    wanted: Customization, short: Path, built_image: Path
) -> None:
    (short / "tree/lib").mkdir(parents=True)
    base = mke2fs(short / "tree", short / "base.ext4")
    # Nothing in it can run, so nobody can index the modules: they are there all the same.
    (short / "tree/bin").mkdir()
    with pytest.raises(BangerError):
        customize(short, replace(wanted, rootfs=str(base), modules_of=wanted.rootfs))
    shutil.rmtree(short / "target")

    busybox = shutil.which("busybox")
    assert busybox
    shutil.copy(busybox, short / "tree/bin/busybox")
    (short / "tree/bin/sh").symlink_to("busybox")
    base = mke2fs(short / "tree", short / "base.ext4")
    ours = replace(
        wanted, rootfs=str(base), modules_of=wanted.rootfs, initrd="", ours=True, docker=False
    )
    built = customize(short, ours)
    found = facts(short / "target/rootfs.ext4", short)
    assert f"lib/modules/{built.kernel_version}/modules.builtin" in found
    assert sum(name.endswith((".ko", ".ko.xz")) for name in found) > 100
    # The initrd is made of the same modules, by the same program, as that of the image.
    initrd = (short / "target/initrd.cpio").read_bytes()
    assert initrd.startswith(b"070701")
    assert b"virtio_blk.ko" in initrd


def test_a_base_that_cannot_take_packages_says_so(wanted: Customization, short: Path) -> None:
    (short / "tree/etc").mkdir(parents=True)
    base = mke2fs(short / "tree", short / "base.ext4")
    for change in ({"packages": ("tree",)}, {"docker": True, "modules_of": wanted.rootfs}):
        with pytest.raises(InvalidInput) as caught:
            customize(short, replace(wanted, rootfs=str(base), **change))
        assert "no Debian system" in caught.value.cause
        shutil.rmtree(short / "target")


def test_what_is_no_file_system_is_refused(wanted: Customization, short: Path) -> None:
    (short / "base").write_bytes(b"\0" * 100_000)
    with pytest.raises(InvalidInput, match="cannot be read"):
        customize(short, replace(wanted, rootfs=str(short / "base")))


def test_a_file_system_that_was_not_unmounted_is_settled_first(
    wanted: Customization, short: Path
) -> None:
    base = mke2fs(odd_tree(short), short / "base.ext4")
    before, digest = facts(base, short), ""
    # needs_recovery, as after a crash (feature_incompat, bit 2).
    argv = ["debugfs", "-w", "-R", "feature needs_recovery", str(base)]
    subprocess.run(argv, check=True, env=SYSTEM, capture_output=True)
    digest = content_sha256(base)
    customize(short, replace(wanted, rootfs=str(base)))
    assert facts(short / "target/rootfs.ext4", short) == before
    assert content_sha256(base) == digest


def customize_in(top: str, wanted: str) -> None:
    """What an ordinary user's process does in the next test."""
    customize(Path(top), msgspec.json.decode(wanted, type=Customization))


@needs("image")
def test_an_ordinary_user_makes_the_same_image(wanted: Customization, short: Path) -> None:
    if shutil.which("newuidmap") is None:
        pytest.skip("newuidmap is not installed (Debian package uidmap)")
    version, home = kernel_version(Path(wanted.kernel)), short / "home"
    modules = home / "modules" / version
    (modules / "kernel").mkdir(parents=True)
    (modules / "kernel/some.ko").write_bytes(b"module")
    tree = odd_tree(short)
    (tree / "bin").mkdir()
    shutil.copy(str(shutil.which("busybox")), tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    base = mke2fs(tree, home / "base.ext4")
    asked = replace(
        wanted,
        rootfs=str(base),
        kernel=str(shutil.copy(wanted.kernel, home)),
        initrd=str(shutil.copy(wanted.initrd, home)),
        modules=str(home / "modules"),
    )
    customize(short, asked)
    with user_with_home(home) as user:
        account = pwd.getpwnam(user)
        debs = home / ".cache/banger-tests/packages/banger"
        debs.mkdir(parents=True)
        subprocess.run(["chown", "-R", f"{user}:", str(home)], check=True)
        environment = {**SYSTEM, "HOME": str(home)}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        drop = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"]
        start = [*drop, "--clear-groups", "--inh-caps=-all", sys.executable, "-B", "-c"]
        script = "import sys; from tests.integration import test_image_customize as t;"
        script += "t.customize_in(*sys.argv[1:])"
        arguments = (str(home), msgspec.json.encode(asked).decode())
        done = subprocess.run(
            [*start, script, *arguments],
            capture_output=True, text=True, check=False, env=environment, cwd="/",
        )  # fmt: skip
    if "No module named" in done.stderr or "Permission denied: '/root" in done.stderr:
        pytest.skip("another user cannot read the source or the Python of these tests")
    assert done.returncode == 0, done.stderr
    made = home / "target/rootfs.ext4"
    assert made.stat().st_uid == account.pw_uid

    def timeless(image: Path) -> dict[str, tuple[object, ...]]:
        # The folders that the modules came into are of today.
        return {name: fact[:-1] for name, fact in facts(image, short).items()}

    by_user = timeless(made)
    assert by_user == timeless(short / "target/rootfs.ext4")
    assert f"lib/modules/{version}/kernel/some.ko" in by_user


# What the programs of a base can do


def in_guest(tree: Path, share: Path, script: str) -> str:
    namespace = UserNamespace(is_root=True)
    command = Command((*namespace.enter, "guest", str(tree), str(share), script), timeout=30)
    return asyncio.run(run(command)).text


def test_a_script_sees_nothing_of_the_host(short: Path) -> None:
    tree, share = short / "tree", short / "share"
    for folder in (tree, share):
        UserNamespace(is_root=True).make_folder(folder)
    (tree / "bin").mkdir()
    busybox = shutil.which("busybox")
    assert busybox
    shutil.copy(busybox, tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    # A trap: mounts go where the tree says, and never out of it.
    (tree / "proc").symlink_to(short)
    with pytest.raises(BangerError):
        in_guest(tree, share, "true")
    (tree / "proc").unlink()
    for left in (".banger-share", ".banger-old"):
        shutil.rmtree(tree / left, ignore_errors=True)

    said = in_guest(
        tree,
        share,
        "b=busybox; echo uid $($b id -u); echo first $($b ps | $b head -n 2 | $b tail -n 1);"
        "echo map $($b cat /proc/self/uid_map); echo root $($b ls -A /);"
        "echo up $($b ip link | $b grep -c ,UP); $b mknod /node b 8 0 || echo no device;"
        "echo x >/.banger-share/said",
    )
    lines = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    assert lines["uid"] == "0"
    assert lines["first"].split()[0] == "1"
    assert lines["map"].split() == ["0", "1900065536", "65536"]
    assert set(lines["root"].split()) == {".banger-share", "bin", "dev", "proc"}
    assert lines["up"] == "0"
    assert lines["no"] == "device"
    assert (share / "said").stat().st_uid == 1900065536
    assert not Path("/proc/self/mounts").read_text().count(str(short))


def test_the_install_script_is_shell() -> None:
    subprocess.run(["sh", "-n", "-c", INSTALL], check=True)


def test_a_folder_in_two_places_is_refused(short: Path) -> None:
    (short / "tree/a/b").mkdir(parents=True)
    base = mke2fs(short / "tree", short / "base.ext4")
    subprocess.run(["debugfs", "-w", "-R", "link a a/b/circle", str(base)], check=True, env=SYSTEM,
                   capture_output=True)  # fmt: skip
    with base.open("rb") as file:
        assert Extraction(Volume(file.fileno())).kept == []
        tree = short / "out"
        UserNamespace(is_root=True).make_folder(tree)
        argv = (*UserNamespace(is_root=True).enter, "extract", str(file.fileno()), str(tree))
        with pytest.raises(BangerError) as caught:
            asyncio.run(run(Command(argv, descriptors=(file.fileno(),))))
    assert "two places" in caught.value.cause
