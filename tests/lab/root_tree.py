"""Makes the lab host's root file system and the initrd that mounts it below a RAM disk."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from banger.host import cpio
from banger.host.modules import depends_of, load_order, module_name, parse_builtin
from tests.lab import packages

FILES = Path(__file__).with_name("files")
#: What the lab host must have before it sees its root.
BOOT_MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_console", "virtio_rng", "overlay"),
    "ext4",
)
USER, UID = "dev", 1000
SIZE_MIB = 2048


def build(folder: Path) -> None:
    """Leave ``root.ext4``, ``vmlinuz`` and ``initrd.cpio`` in ``folder``. As root, a minute."""
    scratch = Path(tempfile.mkdtemp(prefix="bgr-lab-", dir=_memory()))
    tree = scratch / "tree"
    try:
        packages.install_system(tree, scratch)
        shutil.copy(packages.install_kernel(tree, scratch), folder / "vmlinuz")
        packages.install_libraries(tree)
        packages.install_firecracker(tree)
        _furnish(tree)
        (folder / "initrd.cpio").write_bytes(_initrd(tree))
        image = folder / "root.ext4"
        with image.open("wb") as file:
            file.truncate(SIZE_MIB << 20)
        features = ("-O", "^has_journal", "-E", "lazy_itable_init=1,root_owner=0:0", "-m", "0")
        subprocess.run(
            ["mke2fs", "-q", "-F", "-t", "ext4", *features, "-d", tree, image], check=True
        )
    finally:
        shutil.rmtree(scratch)


def _memory() -> str | None:
    """Unpacking is twice as fast where no disk is asked; half a gigabyte."""
    shared = Path("/dev/shm")
    room = shutil.disk_usage(shared).free if shared.is_dir() else 0
    return str(shared) if room > 2 << 30 else None


def _furnish(tree: Path) -> None:
    """Accounts, our init and agent, and the names under which banger will be called."""
    home = tree / "lab"
    shutil.copytree(FILES, home)
    (home / "init").symlink_to("/usr/bin/busybox")
    for name in ("boot.sh", "agent.py"):
        (home / name).chmod(0o755)
    (home / "memory").mkdir()
    (tree / "opt/banger").mkdir()
    (tree / "etc/inittab").write_text(
        "::sysinit:/lab/boot.sh\n::respawn:/usr/bin/python3 -u /lab/agent.py\n"
    )
    (tree / "etc/hostname").write_text("lab\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost lab\n")
    (tree / "etc/resolv.conf").write_text("")
    for file, line in (
        ("passwd", f"{USER}:x:{UID}:{UID}::/home/{USER}:/bin/bash"),
        ("shadow", f"{USER}:*:19000:0:99999:7:::"),
        ("group", f"{USER}:x:{UID}:"),
        ("group", f"kvm:x:110:{USER}"),
    ):
        with (tree / "etc" / file).open("a") as out:
            out.write(f"{line}\n")
    (tree / packages.DIST_PACKAGES / "banger.pth").write_text("/opt/banger/src\n")
    for name, module in (
        ("banger", "banger.cli.main"),
        ("bangerd", "banger.daemon.main"),
        ("mapdns", "banger.mapdns.main"),
    ):
        path = tree / "usr/local/bin" / name
        path.write_text(
            f"#!/usr/bin/python3\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
        )
        path.chmod(0o755)


def _initrd(tree: Path) -> bytes:
    version = packages.kernel_version()
    folder = tree / "usr/lib/modules" / version
    paths = {module_name(path.name): path for path in folder.rglob("*.ko")}
    contents = {name: path.read_bytes() for name, path in paths.items() if _early(path)}

    def needs(name: str) -> tuple[str, ...] | None:
        return depends_of(contents[name]) if name in contents else None

    builtin = parse_builtin((folder / "modules.builtin").read_text())
    order, missing = load_order(BOOT_MODULES, needs, builtin)
    if missing:
        raise RuntimeError(f"the kernel {version} has no {', '.join(missing)}")
    entries = [
        cpio.character_device("dev/console", 5, 1),
        cpio.file("bin/busybox", (tree / "usr/bin/busybox").read_bytes(), 0o755),
        cpio.link("bin/sh", "busybox"),
        cpio.file("init", (FILES / "init.sh").read_bytes(), 0o755),
        cpio.file("modules/order", "".join(f"{name}\n" for name in order).encode()),
        *(cpio.file(f"modules/{name}.ko", contents[name]) for name in order),
        *map(cpio.folder, ("proc", "sys", "low", "over", "root")),
    ]
    return cpio.archive(cpio.with_folders(entries))


def _early(path: Path) -> bool:
    """Only these subsystems can be needed before the root; reading all would take long."""
    text = str(path)
    return any(part in text for part in ("virtio", "/overlayfs/", "/ext4/", "hw_random", "/block/"))
