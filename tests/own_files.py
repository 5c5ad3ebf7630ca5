"""Files as a user brings them along: Debian's kernel with its initrd, and a root of BusyBox.

Both come from the package archive; what takes long is made once and kept between test runs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from banger.host.files import remove_tree
from tests import archive
from tests.plugins.built_image import cache, lock

#: Debian's ordinary kernel, which has virtio and ext4 as modules: nothing boots without its initrd.
KERNEL_PACKAGE = "linux-image-amd64"
#: The small SSH server, and what it needs that a bare Debian lacks.
SERVER_PACKAGES = ("dropbear-bin", "libtomcrypt1", "libtommath1", "libgmp10", "libcrypt1", "zlib1g")
#: For the kernel's version in a file of its own; run where the packages are installed.
_SMALL = """set -e; cd /etc/initramfs-tools
sed -i s/^MODULES=.*/MODULES=list/ initramfs.conf
for module in virtio_pci virtio_mmio virtio_blk virtio_net ext4; do echo $module; done >>modules
mkinitramfs -o /boot/small-initrd "$(ls /usr/lib/modules)"
"""
_INITTAB = """\
::sysinit:/bin/mkdir -p /var/run
::respawn:/usr/sbin/dropbear -F -s
::ctrlaltdel:/sbin/poweroff
"""
_LIBRARY = re.compile(r"(/\S+)")


@dataclass(frozen=True, slots=True)
class OwnKernel:
    """A kernel as its package has it, the initrd that initramfs-tools made for it, its modules.

    ``small_initrd`` is as ``MODULES=list`` makes it: 30 MB less, which guests unpack in no time.
    """

    kernel: Path
    initrd: Path
    small_initrd: Path
    modules: Path

    @property
    def version(self) -> str:
        return self.kernel.name.removeprefix("vmlinuz-")


def own_kernel() -> OwnKernel:
    """Made in a small Debian by the package's own scripts. Takes a minute when it is not cached,
    and when the archive has another kernel than at that time.
    """
    folder = cache() / "own-kernel"
    one_at_a_time = lock(folder.with_suffix(".lock"), wait=True)  # the lab's rung wants it, too
    try:
        _make_own_kernel(folder)
    finally:
        os.close(one_at_a_time)
    kernel = next((folder / "boot").glob("vmlinuz-*"))
    initrd = next((folder / "boot").glob("initrd.img-*"))
    return OwnKernel(kernel, initrd, folder / "boot/small-initrd", folder / "modules")


def _make_own_kernel(folder: Path) -> None:
    whole, offered = folder / "whole", archive.kernel_version(KERNEL_PACKAGE)
    known = whole.exists() and (folder / "boot/small-initrd").exists()
    if not known or offered != whole.read_text():
        remove_tree(folder)
        folder.mkdir(parents=True)
        small, copied = f"chroot \"$1\" sh -c '{_SMALL}'", f'cp -a "$1"/usr/lib/modules {folder}'
        hooks = (f"--customize-hook={hook}" for hook in (small, f"copy-out /boot {folder}", copied))
        packages = f"--include=initramfs-tools,{KERNEL_PACKAGE}"
        argv = ["mmdebstrap", "--variant=essential", packages, *hooks, archive.SUITE, "/dev/null"]
        subprocess.run([*argv, "--format=null"], check=True, capture_output=True, timeout=600)
        whole.write_text(offered)


def busybox_root(folder: Path) -> Path:
    """A root of a few MB: BusyBox as init and shell, Dropbear, neither systemd nor Python."""
    tree, image = folder / "tree", folder / "busybox.ext4"
    for name in ("bin", "sbin", "etc/dropbear", "root", "usr/sbin", "lib64", "home"):
        (tree / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "busybox", tree / "bin/busybox")
    names = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True)
    for name in names.stdout.split():
        if name != "busybox":
            (tree / "bin" / name).symlink_to("busybox")
    (tree / "sbin/init").symlink_to("../bin/busybox")
    (tree / "etc/inittab").write_text(_INITTAB)
    (tree / "etc/passwd").write_text("root:*:0:0:root:/root:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\n")
    (tree / "etc/shells").write_text("/bin/sh\n")
    # As the original's images have it: drives that this VM lacks.
    (tree / "etc/fstab").write_text("/dev/vdb /home ext4 defaults 0 2\n/dev/vdc /var ext4\n")
    _add_server(folder / "packages", tree)
    argv = ["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d"]
    subprocess.run([*argv, str(tree), str(image), "64M"], check=True)
    return image


def _add_server(packages: Path, tree: Path) -> None:
    unpacked = packages / "unpacked"
    unpacked.mkdir(parents=True)
    for package in archive.download(packages, *SERVER_PACKAGES):
        subprocess.run(["dpkg", "-x", package, unpacked], check=True)
    server = unpacked / "usr/sbin/dropbear"
    shutil.copy(server, tree / "usr/sbin/dropbear")
    folders = ":".join(str(path) for path in unpacked.rglob("x86_64-linux-gnu") if path.is_dir())
    listed = subprocess.run(
        ["ldd", server], env=os.environ | {"LD_LIBRARY_PATH": folders},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for found in _LIBRARY.findall(listed.stdout):
        target = tree / "lib64" / Path(found).name
        if not target.exists():
            shutil.copy(found, target)
    # The dynamic linker's own default folders do not hold all of it.
    (tree / "lib").symlink_to("lib64")
