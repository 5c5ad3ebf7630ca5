"""What root opens for a caller, and the loop devices over it, on the real kernel."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from banger.privileged import callers_files, loop, snapshot
from banger.privileged.calls import CallFailed, SnapshotAttach
from tests.requirements import needs

pytestmark = needs("root")
#: Two users who may do nothing on any Debian: nobody, and games.
USER, OTHER = 65534, 5
VM, HEAD = "0123456789ab", b"SnAp" + b"".join(n.to_bytes(4, "little") for n in (1, 1, 8))


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of the user's, which the folders above let the user reach."""
    path = Path(f"/var/tmp/bgrtest-{os.getpid()}")
    (path / VM).mkdir(parents=True)
    try:
        for each in (path, path / VM):
            os.chown(each, USER, USER)
        yield path
    finally:
        for name in sorted(path.rglob("*"), reverse=True):
            name.rmdir() if name.is_dir() and not name.is_symlink() else name.unlink()
        path.rmdir()


def made(path: Path, uid: int, mode: int = 0o600, content: bytes = HEAD) -> Path:
    path.write_bytes(content)
    os.truncate(path, 1 << 20)
    path.chmod(mode)
    os.chown(path, uid, uid)
    return path


def refused(path: Path, *, writable: bool) -> str:
    rights = (os.geteuid(), os.getegid(), os.getgroups())
    with pytest.raises(CallFailed) as caught:
        os.close(callers_files.open_file(str(path), USER, writable=writable))
    assert caught.value.reason == "refused"
    assert rights == (os.geteuid(), os.getegid(), os.getgroups())
    return caught.value.text


def test_a_file_of_the_users_own_is_opened(folder: Path) -> None:
    path = made(folder / "own", USER)
    for writable in (True, False):
        descriptor = callers_files.open_file(str(path), USER, writable=writable)
        assert os.fstat(descriptor).st_ino == path.stat().st_ino
        os.close(descriptor)


def test_what_the_user_may_not_open_is_refused(folder: Path) -> None:
    assert "Permission denied" in refused(made(folder / "root", 0), writable=False)
    assert "Permission denied" in refused(made(folder / "other", OTHER), writable=False)
    assert "Permission denied" in refused(made(folder / "mode", USER, 0o000), writable=True)
    assert "Permission denied" in refused(Path("/root/file"), writable=False)
    assert "user 5" in refused(made(folder / "open", OTHER, 0o666), writable=True)
    assert "user 5" in refused(made(folder / "open", OTHER, 0o666), writable=False)
    assert "user 0" in refused(made(folder / "roots", 0, 0o666), writable=True)
    os.close(callers_files.open_file(str(folder / "roots"), USER, writable=False))
    assert "regular" in refused(Path("/dev/null"), writable=True)


def test_a_closed_folder_hides_what_is_in_it(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(0o700)
    made(closed / "file", USER, 0o666)
    assert "Permission denied" in refused(closed / "file", writable=False)


def test_a_path_that_changes_all_the_time_never_leads_out(folder: Path) -> None:
    """The file and a link to root's are swapped while root opens: it gets the first or none."""
    own, secret, name = made(folder / "own", USER), made(folder / "secret", 0), folder / "name"
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for source in (own, secret):
                link = folder / "next"
                link.symlink_to(source)
                link.replace(name)
                spare = folder / "spare"
                spare.write_bytes(b"a plain file")
                spare.replace(name)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        deadline, opened = time.monotonic() + 1, 0
        while time.monotonic() < deadline:
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW)
            except OSError:
                continue
            os.close(descriptor)
            try:
                descriptor = callers_files.open_file(str(name), os.geteuid(), writable=False)
            except CallFailed:
                continue
            opened += 1
            assert os.fstat(descriptor).st_ino not in {own.stat().st_ino, secret.stat().st_ino}
            os.close(descriptor)
    finally:
        stop.set()
        swapper.join()
    assert opened


@needs("loop")
def test_loops_are_shared_tagged_and_gone_with_their_last_user(folder: Path) -> None:
    image, layer = made(folder / "image", USER), made(folder / VM / "root.cow", USER)
    with image.open("rb") as shared, layer.open("r+b") as changes:
        first = loop.attach(shared.fileno(), "banger-1-image", read_only=True)
        second = loop.attach(shared.fileno(), "banger-1-image", read_only=True)
        others = loop.attach(shared.fileno(), "banger-2-image", read_only=True)
        assert first.number == second.number != others.number
        own = loop.attach(changes.fileno(), "banger-1-a", read_only=False)
        with pytest.raises(CallFailed, match="banger-1-a") as caught:
            loop.attach(changes.fileno(), "banger-1-b", read_only=False)
        assert caught.value.reason == "foreign"
        assert own.sectors() == 2048
        os.truncate(layer, 2 << 20)
        own.take_size_of_file()
        assert own.sectors() == 4096
        for each in (first, second, others, own):
            os.close(each.descriptor)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and (backing := backing_files(folder)):
            time.sleep(0.02)
        assert not backing


def backing_files(folder: Path) -> list[str]:
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found.append(path.read_text().strip())
        except FileNotFoundError:
            continue
    return [name for name in found if name.startswith(str(folder))]


@needs("loop")
def test_a_kernel_without_device_mapper_says_so_and_keeps_nothing(folder: Path) -> None:
    if "device-mapper" in Path("/proc/misc").read_text():
        pytest.skip("this kernel has it")
    image, layer = made(folder / "image", USER), made(folder / VM / "root.cow", USER)
    with pytest.raises(CallFailed, match="no device-mapper"):
        snapshot.perform(SnapshotAttach(VM, str(image), str(layer)), USER)
    assert not backing_files(folder)
