"""Turns mmdebstrap's tar into an ext4 file: the commands, and the names they are given."""

from __future__ import annotations

import uuid
from pathlib import Path

from banger.drivers.image import hooks
from banger.drivers.image.overlay import EPOCH
from banger.errors import InvalidInput
from banger.host.command import Command
from banger.model.image import ImageSpec

LABEL = "banger-root"
BLOCK_BYTES = 4096
MIB = 1024 * 1024
#: The shipped package list takes about 300 MiB; a smaller file system would be of no use.
MIN_BYTES = 512 * MIB
#: ext4 with 4 KiB blocks and 32-bit block numbers ends here.
MAX_BYTES = 16 * 1024 * 1024 * MIB
#: In seconds; the work is a second or two on a quick disk.
_TIMEOUT = 600.0
#: Named one by one, because the defaults of mke2fs differ from host to host.
FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,"
    "sparse_super,large_file,huge_file,uninit_bg,dir_nlink,extra_isize"
)
_NAMESPACE = uuid.UUID("6f0b0a52-6d0a-5c1c-9a0e-2f3b7c1d9e44")

#: Enters a user namespace in which we are root and own a range of other ids as well: there,
#: files get the owners they have in the tar.
NAMESPACE = ("unshare", "--map-root-user", "--map-auto", "--")


def check_size(size_bytes: int) -> int:
    """Return the size if a root file system can have it, else raise ``InvalidInput``."""
    if size_bytes % BLOCK_BYTES or not MIN_BYTES <= size_bytes <= MAX_BYTES:
        raise InvalidInput(
            f"an image cannot have {size_bytes} bytes",
            cause=f"the size is a multiple of 4 KiB from {MIN_BYTES // MIB} MiB to 16 TiB",
            resolution="banger image build --size 8G",
        )
    return size_bytes


def identifier(spec: ImageSpec, purpose: str) -> str:
    """A UUID that the same spec always gets, other than the one for another purpose."""
    docker = ("docker",) if spec.docker else ()
    key = "\n".join((purpose, spec.suite, str(spec.size_bytes), *spec.packages, *docker))
    return str(uuid.uuid5(_NAMESPACE, key))


def unpack_command(prefix: tuple[str, ...], tar: Path, tree: Path) -> Command:
    """Unpack the root tree. Device nodes stay out: the kernel makes them, and only root can."""
    return Command(
        (
            *prefix,
            "tar",
            "--extract",
            f"--file={tar}",
            f"--directory={tree}",
            "--numeric-owner",
            "--same-permissions",
            "--xattrs",
            "--xattrs-include=*",
            "--exclude=./dev/*",
            # apt makes these again, and gives them an owner that depends on the build's folder.
            "--exclude=./var/cache/apt/archives/partial",
            "--exclude=./var/lib/apt/lists/partial",
            f"--exclude=./{hooks.BOOT}",
        ),
        timeout=_TIMEOUT,
        package="uidmap" if prefix else "tar",
    )


def unpack_boot_command(tar: Path, target: Path) -> Command:
    """Unpack only the folder that the kernel hook left, as our own files."""
    return Command(
        (
            "tar",
            "--extract",
            f"--file={tar}",
            f"--directory={target}",
            "--no-same-owner",
            "--strip-components=2",
            f"./{hooks.BOOT}",
        ),
        timeout=_TIMEOUT,
        package="tar",
    )


def format_command(prefix: tuple[str, ...], spec: ImageSpec, tree: Path, image: Path) -> Command:
    """Fill ``image``, an empty sparse file of the full size, with the tree.

    Without metadata checksums the time stamps can be fixed afterwards. A file of holes lets
    mke2fs mark the inode tables as zeroed: else every guest would zero them, in its own layer.
    Entries are written in the order of their names, whatever the order in the tree.
    """
    return mke2fs(
        image,
        *("-d", str(tree), "-i", "16384"),
        filesystem=identifier(spec, "filesystem"),
        hash_seed=identifier(spec, "hash"),
        prefix=prefix,
    )


def mke2fs(
    image: Path, *content: str, filesystem: str, hash_seed: str, prefix: tuple[str, ...] = ()
) -> Command:
    """A root file system that is always the same for the same values, in a file of holes.

    ``content`` are the options that say what is put in and how many inodes there are.
    ``filesystem`` and ``hash_seed`` are UUIDs.
    """
    return Command(
        (
            *prefix,
            "mke2fs",
            "-q",
            "-F",
            *("-t", "ext4"),
            *content,
            *("-L", LABEL),
            *("-U", filesystem),
            *("-m", "0"),
            *("-b", str(BLOCK_BYTES)),
            *("-I", "256"),
            *("-O", FEATURES),
            *("-E", f"hash_seed={hash_seed},lazy_journal_init=1,root_owner=0:0"),
            str(image),
        ),
        env={"E2FSPROGS_FAKE_TIME": str(EPOCH)},
        timeout=_TIMEOUT,
        package="e2fsprogs",
    )


def check_command(image: Path) -> Command:
    """Look for faults without changing anything."""
    return Command(("e2fsck", "-f", "-n", str(image)), timeout=_TIMEOUT, package="e2fsprogs")


def remove_command(prefix: tuple[str, ...], path: Path) -> Command:
    """Remove a tree whose files may belong to ids that only the namespace rules."""
    return Command(
        (*prefix, "rm", "--recursive", "--force", "--one-file-system", str(path)),
        timeout=_TIMEOUT,
        package="uidmap" if prefix else "coreutils",
    )
