from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banger.errors import HostNotReady, PermissionRefused
from banger.host import files


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def refusal(folder: Path) -> str:
    with pytest.raises(PermissionRefused, match="cannot be trusted") as caught:
        files.make_private_folder(folder)
    return caught.value.cause


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_atomic(path, "old")
    inode = path.stat().st_ino
    files.write_atomic(path, b"new", mode=0o644)
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o644)
    assert path.stat().st_ino != inode
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_synced_where_its_new_content_must_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_whole(tmp_path / "file", "new")
    assert synced == ["file"], "a power cut brings the old content back, never half of the new"
    files.write_atomic(tmp_path / "file", "newer")
    assert synced == ["file", "file", "folder"]
    assert (tmp_path / "file").read_text() == "newer"


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    for umask in (0o777, 0):
        before = os.umask(umask)
        try:
            files.write_atomic(tmp_path / f"file{umask}", "x")
        finally:
            os.umask(before)
        assert mode_of(tmp_path / f"file{umask}") == 0o600


def test_a_failed_write_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    files.write_atomic(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HostNotReady) as caught:
        files.write_atomic(path, "new")
    assert caught.value.cause == "No space left on device"
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_private_folders(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    files.make_private_folder(folder)
    assert (mode_of(folder), mode_of(folder.parent)) == (0o700, 0o700)
    folder.chmod(0o755)
    files.make_private_folder(folder)
    assert mode_of(folder) == 0o700


def test_a_link_is_no_private_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(PermissionRefused, match="link cannot be trusted"):
        files.make_private_folder(tmp_path / "link")
    files.make_private_folder(tmp_path / "link" / "below")


def test_a_file_is_no_private_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file") == "it is not a folder"


def test_a_folder_anybody_can_change_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert refusal(tmp_path / "open" / "mine") == "anybody may write into it"
    (tmp_path / "open").chmod(0o1777)
    files.make_private_folder(tmp_path / "open" / "mine")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
@pytest.mark.parametrize("name", ["runtime", "runtime/banger"])
def test_another_users_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "runtime" / "banger").mkdir(parents=True)
    os.chown(tmp_path / name, 12345, 12345)
    assert "it belongs to user 12345" in refusal(tmp_path / "runtime" / "banger")


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=6),
    st.integers(0, 100_000),
)
def test_a_sparse_copy_is_equal_and_sparse(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[int, int]], size: int
) -> None:
    folder = tmp_path_factory.mktemp("sparse")
    source, target = folder / "source", folder / "target"
    with source.open("wb") as file:
        for block, length in parts:
            file.seek(block * 65536)
            file.write(b"x" * length)
        file.truncate(max(size, file.seek(0, 2)))
    files.copy_sparse(source, target)
    assert source.read_bytes() == target.read_bytes()
    assert mode_of(target) == 0o600
    assert files.allocated_bytes(target) <= files.allocated_bytes(source) + 4096


def test_a_failed_copy_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").write_bytes(bytes(10) + b"x")

    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "sendfile", full)
    with pytest.raises(OSError, match="full"):
        files.copy_sparse(tmp_path / "source", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_clone_is_equal_or_refused_without_traces(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"data" * 4096)
    if files.clone_file(source, target):
        assert target.read_bytes() == source.read_bytes()
    else:
        assert not target.exists()


def test_allocated_bytes_of_holes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert files.allocated_bytes(path) == 0
    path.touch()
    os.truncate(path, 1 << 30)
    assert files.allocated_bytes(path) < 1 << 16


def test_free_bytes_of_a_folder_yet_to_be_made(tmp_path: Path) -> None:
    assert files.free_bytes(tmp_path / "not" / "there") == pytest.approx(
        files.free_bytes(tmp_path), rel=0.5
    )
    assert files.free_bytes(tmp_path) > 0


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    held = files.lock_file(tmp_path / "lock")
    assert held is not None
    assert files.lock_file(tmp_path / "lock") is None
    os.close(held)
    again = files.lock_file(tmp_path / "lock")
    assert again is not None
    os.close(again)


def test_a_link_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("elsewhere")
    with pytest.raises(HostNotReady):
        files.lock_file(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()


def test_trees_are_removed_and_links_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "link").symlink_to(tmp_path / "kept")
    files.remove_tree(tree)
    files.remove_tree(tree)
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    files.remove_tree(tmp_path / "link")
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").exists()


@pytest.mark.parametrize(
    ("number", "family"),
    [
        (errno.ENOSPC, HostNotReady),
        (errno.EDQUOT, HostNotReady),
        (errno.EACCES, PermissionRefused),
        (errno.EROFS, PermissionRefused),
        (errno.EIO, HostNotReady),
    ],
)
def test_system_errors_are_explained(number: int, family: type[Exception]) -> None:
    with pytest.raises(family, match="could not write x"), files.explained("write x"):
        raise OSError(number, os.strerror(number))
