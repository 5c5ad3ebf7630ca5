"""Files that are never seen half written, private folders, sparse copies and locks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from banger.errors import BangerError, HostNotReady, PermissionRefused

#: ioctl_ficlone(2): _IOW(0x94, 9, int).
_FICLONE = 0x40049409
#: What a file system says that cannot share blocks between these two files.
_NO_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_CHUNK = 8 * 1024 * 1024


@contextlib.contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn an ``OSError`` inside the block into a banger error about ``action`` ("write X")."""
    try:
        yield
    except OSError as error:
        raise explain(action, error) from error


def explain(action: str, error: OSError) -> BangerError:
    """The banger error for an ``OSError`` that happened while trying to ``action``."""
    brief, cause = f"could not {action}", error.strerror or str(error)
    if error.errno in _NO_SPACE:
        return HostNotReady(brief, cause=cause, resolution="free disk space, then try again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionRefused(brief, cause=cause, resolution="banger doctor")
    return HostNotReady(brief, cause=cause, resolution="banger doctor")


def write_atomic(path: Path, data: bytes | str, mode: int = 0o600) -> None:
    """Replace ``path`` so that a reader, or a power cut, sees the old or the new content only."""
    write_whole(path, data, mode)
    with explained(f"write {path}"):
        sync_folder(path.parent)


def write_whole(path: Path, data: bytes | str, mode: int = 0o600) -> None:
    """As ``write_atomic``, but for a while a power cut may still bring the old content back."""
    payload = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    with explained(f"write {path}"):
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, mode)
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                os.fchmod(descriptor, mode)
                file.write(payload)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def sync_folder(path: Path) -> None:
    """Make renames and deletions inside the folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_folder(path: Path) -> None:
    """Make the folder and its missing parents 0700, and check that nobody else rules it.

    Raises ``PermissionRefused`` if it, or a folder above it, belongs to another user or
    can be changed by anybody, or if something else stands there.
    """
    with explained(f"make the folder {path}"):
        missing = not path.is_dir()
        for folder in [*reversed(path.parents), path]:
            if missing:
                with contextlib.suppress(FileExistsError):
                    folder.mkdir(mode=0o700)
            # Symbolic links above it are the administrator's business: what counts is where
            # they lead, and that each is in a folder that passed.
            _check_folder(folder, own=folder == path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o700)


def _check_folder(folder: Path, *, own: bool) -> None:
    status = folder.lstat() if own else folder.stat()
    me = os.geteuid()
    open_to_all = bool(status.st_mode & stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX
    if not stat.S_ISDIR(status.st_mode):
        wrong = "it is not a folder"
    elif status.st_uid != me and (own or status.st_uid != 0):
        wrong = f"it belongs to user {status.st_uid}, and banger runs as user {me}"
    elif open_to_all and not own:
        wrong = "anybody may write into it"
    else:
        return
    raise PermissionRefused(
        f"the folder {folder} cannot be trusted",
        cause=wrong,
        resolution=f"ls -ld {folder}, then correct it or remove it",
    )


def clone_file(source: Path, target: Path) -> bool:
    """Make ``target`` share all blocks of ``source`` (reflink); False where that cannot be.

    On False no ``target`` is left. Other failures raise ``OSError``.
    """
    with source.open("rb") as reader:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(target, flags, 0o600)
        try:
            fcntl.ioctl(descriptor, _FICLONE, reader.fileno())
            os.fsync(descriptor)
        except OSError as error:
            target.unlink(missing_ok=True)
            if error.errno in _NO_CLONE:
                return False
            raise
        finally:
            os.close(descriptor)
    return True


def can_clone(folder: Path) -> bool:
    """Whether files in the (existing) folder can share blocks, tried with two small ones."""
    source, target = folder / f".clone-{os.getpid()}.a", folder / f".clone-{os.getpid()}.b"
    try:
        source.write_bytes(bytes(4096))
        return clone_file(source, target)
    except OSError:
        return False
    finally:
        for path in (source, target):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def copy_sparse(source: Path, target: Path, stopped: Callable[[], bool] = lambda: False) -> None:
    """Copy what ``source`` really holds and leave its holes holes; durable on return.

    ``stopped`` is asked every few MiB. Raises ``OSError`` (``ECANCELED`` when stopped), and
    then no ``target`` is left.
    """
    with source.open("rb") as reader:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(target, flags, 0o600)
        try:
            size = os.fstat(reader.fileno()).st_size
            os.truncate(descriptor, size)
            for start, end in data_extents(reader.fileno(), size):
                _copy_range(reader.fileno(), descriptor, start, end, stopped)
            os.fsync(descriptor)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def data_extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """The ``(start, end)`` byte ranges of an open file that are not holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


def _copy_range(
    source: int, target: int, start: int, end: int, stopped: Callable[[], bool]
) -> None:
    os.lseek(target, start, os.SEEK_SET)
    while start < end:
        if stopped():
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
        moved = os.sendfile(target, source, start, min(end - start, _CHUNK))
        if moved == 0:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        start += moved


def allocated_bytes(path: Path) -> int:
    """Bytes that the file occupies on disk; 0 if it does not exist."""
    try:
        return path.stat().st_blocks * 512  # stat(2): the unit is 512 whatever the block size
    except FileNotFoundError:
        return 0


def free_bytes(path: Path) -> int:
    """Bytes that we may still write on the file system of ``path`` or its nearest parent."""
    for folder in [path, *path.parents]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.statvfs(folder)
            return status.f_bavail * status.f_frsize
    return 0


def lock_file(path: Path) -> int | None:
    """Take the lock and return its descriptor; None while another process holds it.

    The lock ends with the descriptor, so with the process at the latest. The file stays.
    """
    with explained(f"open the lock {path}"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def remove_tree(path: Path) -> None:
    """Remove a file, link or folder with all its content; nothing happens if it is absent."""
    import shutil  # slow to import and seldom needed

    with explained(f"remove {path}"):
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except FileNotFoundError:
            return  # somebody else was quicker
