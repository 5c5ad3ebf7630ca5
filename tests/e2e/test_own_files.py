"""Files of the user's own boot (R6), and the guest has its identity whatever boots it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.own_files import busybox_root, own_kernel
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = needs("qemu", "image", "ssh", "busybox", "e2fsprogs")
STALE = "/dev/vdb /home ext4 defaults 0 2\n/dev/vdc /var ext4 defaults 0 2\n"


def sparse_copy(source: Path, target: Path) -> Path:
    subprocess.run(["cp", "--sparse=always", source, target], check=True)
    target.chmod(0o600)
    return target


def put(image: Path, path: str, content: str, folder: Path) -> None:
    """Write a text file into an image as its maker would have."""
    source = folder / "put"
    source.write_text(content)
    parent, _, name = path.rpartition("/")
    script = f"cd {parent}\nrm {name}\nwrite {source} {name}\n"
    argv = ["/usr/sbin/debugfs", "-w", "-f", "-", str(image)]
    subprocess.run(argv, input=script, text=True, check=True, capture_output=True)


def test_debians_kernel_with_debians_initrd(
    banger: Home, built_image: Path, tmp_path: Path, leaves_nothing: Callable[[], None]
) -> None:
    """Initramfs-tools' archive, plain modules, a stale fstab: named, reached, and kept."""
    rootfs = sparse_copy(built_image / "rootfs.ext4", banger.root / "rootfs.ext4")
    put(rootfs, "/etc/fstab", STALE, tmp_path)
    before = rootfs.stat().st_mtime_ns
    own = own_kernel()
    files = ("--rootfs", str(rootfs), "--kernel", str(own.kernel), "--initrd", str(own.initrd))
    modules = ("--modules", str(own.modules))
    banger.ok("run", "--name", "deb", *files, *modules, "--disk-size", "64M", "--memory", "768M")

    def guest(script: str) -> str:
        return banger.ok("exec", "deb", "--", "sh", "-c", script).strip()

    assert guest("uname -r; hostname; stat -c %a /.banger") == f"{own.version}\ndeb\n700"
    assert banger.ok("ssh", "deb", "--", "cat", "/etc/hostname") == "deb\n"
    assert guest("systemctl is-system-running --wait; systemctl --failed --no-legend") == "running"
    assert guest("stat -f -c %T /work; systemctl is-enabled home.mount var.mount || true") == (
        "ext2/ext3\nmasked-runtime\nmasked-runtime"
    )
    # More of its modules than any initrd holds, known to the system's own tools.
    assert guest("modprobe nbd && test -e /dev/nbd0 && echo there") == "there"
    assert guest("touch /root/kept; ls /.banger/modules.tar 2>/dev/null; true") == ""
    # Ended in the middle of its work: the journal is replayed before the next identity is written.
    banger.ok("exec", "deb", "--", "sh", "-c", "sync; echo more >/root/more")
    banger.ok("kill", "deb")
    banger.ok("rename", "deb", "other")
    banger.ok("start", "other")
    assert banger.ok("exec", "other", "--", "sh", "-c", "ls /root/kept; hostname") == (
        "/root/kept\nother\n"
    )
    banger.ok("rm", "--force", "other")
    assert rootfs.stat().st_mtime_ns == before
    leaves_nothing()


@needs("net")
def test_busybox_and_dropbear(
    banger_with_image: Home, tmp_path: Path, leaves_nothing: Callable[[], None]
) -> None:
    """No systemd, no Python: our initrd boots it, and its server shows the pinned key."""
    rootfs = busybox_root(tmp_path)
    banger_with_image.ok("run", "--name", "box", "--rootfs", str(rootfs), "--memory", "128M")
    said = banger_with_image.ok("ssh", "box", "--", "hostname; cat /proc/1/comm")
    assert said.split() == ["box", "init"]
    assert banger_with_image.ok("exec", "box", "--", "cat", "/etc/hostname") == "box\n"
    banger_with_image.ok("rm", "--force", "box")
    leaves_nothing()


@pytest.mark.parametrize(
    ("offset", "magic", "words"),
    [
        (0x10040, b"_BHRfS_M", "btrfs"),
        (0, b"XFSB", "XFS"),
        (0x200, b"EFI PART", "partitions (GPT)"),
    ],
)
def test_what_is_no_ext4_is_named(
    banger_with_image: Home, tmp_path: Path, offset: int, magic: bytes, words: str
) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(offset) + magic + bytes(1 << 20))
    result = banger_with_image("run", "--name", "no", "--rootfs", str(disk))
    assert result.status == 2
    assert words in result.stderr
    assert "  try:" in result.stderr
    assert banger_with_image.json("ls") == []


def test_a_full_root_and_folders_without_modules(banger_with_image: Home, tmp_path: Path) -> None:
    tree, full = tmp_path / "tree", tmp_path / "full.ext4"
    (tree / "etc").mkdir(parents=True)  # one file alone would be no root file system
    (tree / "filler").write_bytes(os.urandom(5 << 20))
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-d", tree, full, "8M"], check=True)
    image = next(banger_with_image.paths.images.iterdir())
    shutil.copy(image / "vmlinux", tmp_path / "vmlinux")
    own = ("--rootfs", str(full), "--kernel", str(tmp_path / "vmlinux"))
    result = banger_with_image("run", "--name", "no", *own)
    assert (result.status, "MiB are free in it" in result.stderr) == (2, True), result
    result = banger_with_image("run", "--name", "no", *own, "--modules", str(tree))
    assert (result.status, "no kernel's modules" in result.stderr) == (2, True), result
    assert banger_with_image.json("ls") == []
