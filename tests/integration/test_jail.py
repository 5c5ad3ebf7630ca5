"""Jails as the root side makes them, and what a caller tries to get out of them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from banger.host.tiny_guest import tiny_guest
from banger.naming import new_id, tap_alias, tap_name
from banger.privileged import execute, jail_calls
from banger.privileged.calls import CallFailed
from banger.privileged.jail_calls import JAILS, JailEnd, JailStart
from tests.firecracker_program import firecracker_program
from tests.requirements import needs

pytestmark = needs("root", "firecracker", "bare-kvm")
#: Two users of every Debian who own nothing: games and man.
USER, OTHER = 5, 6


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the user's that the user can reach, with a drive and all that a start needs."""
    made = Path(tempfile.mkdtemp(prefix="bgr-jail-", dir="/tmp"))
    program = firecracker_program()
    for source in (program.path, Path(program.jailer)):
        shutil.copy(source, made / source.name)
    for name in ("log", "metrics", "console", "errors", "initrd"):
        (made / name).touch(mode=0o600)
    (made / "kernel").write_bytes(tiny_guest(b"up\n", "halt"))
    (made / "drive").write_bytes(bytes(1 << 20))
    os.mkfifo(made / "in", 0o600)
    for path in (made, *made.iterdir()):
        os.chown(path, USER, USER)
        path.chmod(0o700 if path.is_dir() else 0o600)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def call(folder: Path) -> Iterator[JailStart]:
    vm_id = new_id()
    made = JailStart(
        name=tap_name(vm_id),
        alias=tap_alias(USER, vm_id),
        vcpus=1,
        memory_mib=64,
        tap=False,
        firecracker=f"{folder}/firecracker",
        jailer=f"{folder}/jailer",
        kernel=f"{folder}/kernel",
        initrd=f"{folder}/initrd",
        drives=(f"rw:root:{folder}/drive",),
        log=f"{folder}/log",
        metrics=f"{folder}/metrics",
        console_input=f"{folder}/in",
        console_log=f"{folder}/console",
        errors=f"{folder}/errors",
    )
    yield made
    execute.perform([JailEnd(made.name, made.alias)], USER)


def jail_of(call: JailStart) -> Path:
    return jail_calls.folder_of(jail_calls.process_name(USER, jail_calls.vm_id_of(call.name)))


def start(call: JailStart) -> int:
    return execute.perform([call], USER)[0].index


def refused(call: JailStart, words: str) -> None:
    with pytest.raises(CallFailed) as caught:
        start(call)
    assert words in caught.value.text
    assert not jail_of(call).exists()


def test_a_start_and_an_end(call: JailStart, folder: Path) -> None:
    pid = start(call)
    record = jail_calls.read_record(jail_of(call).name)
    assert record is not None
    assert record.runtime == str(folder)
    assert Path(f"/proc/{pid}").stat().st_uid == record.uid
    # Its user finds it, also when its process is gone and it is all that is left.
    listed = subprocess.run(["ls", JAILS], user=USER, capture_output=True, text=True, check=True)
    assert jail_of(call).name in listed.stdout.split()
    sockets = list((jail_of(call) / "s").iterdir())
    assert {(path.stat().st_uid, path.stat().st_mode & 0o777) for path in sockets} == {
        (USER, 0o600)
    }
    with pytest.raises(CallFailed, match="runs already"):
        start(call)
    assert Path(f"/proc/{pid}").exists()  # a second start is no end of the first
    end = JailEnd(call.name, call.alias)
    for _ in range(2):
        assert execute.perform([end], USER)[0].index == 0
        assert not jail_of(call).exists()
    # The owner of what was shared has not changed, and no stranger has come to more.
    assert {path.stat().st_uid for path in folder.iterdir()} == {USER}
    assert {path.stat().st_mode & 0o007 for path in folder.iterdir()} == {0}


def test_others_reach_no_socket(call: JailStart) -> None:
    start(call)
    path = jail_of(call) / "s/api.sock"
    for uid, reaches in ((OTHER, False), (USER, True)):
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            try:
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(path))
            except PermissionError:
                os._exit(1)
            os._exit(0)
        assert (os.waitpid(child, 0)[1] == 0) is reaches


def test_a_file_gives_nobody_the_group_of_a_jail(call: JailStart, folder: Path) -> None:
    (folder / "drive").chmod(0o6777)
    (folder / "log").chmod(0o2755)
    start(call)
    assert (folder / "log").stat().st_gid != USER
    assert (folder / "log").stat().st_mode & 0o7777 == 0o765
    assert (folder / "drive").stat().st_mode & 0o7000 == 0o6000  # everybody may: left alone
    assert (folder / "drive").stat().st_gid == USER


def _huge_kernel(folder: Path, call: JailStart) -> JailStart:
    os.truncate(folder / "kernel", 1 << 40)
    return call


Change = Callable[[Path, JailStart], JailStart]


def _link(name: str) -> Change:
    def change(folder: Path, call: JailStart) -> JailStart:
        (folder / name).rename(folder / "elsewhere")
        (folder / name).symlink_to("elsewhere")
        return call

    return change


def _folder_link(folder: Path, call: JailStart) -> JailStart:
    (folder / "way").symlink_to(folder)
    return call.replaced(drives=(f"rw:root:{folder}/way/drive",))


def _second_name(folder: Path, call: JailStart) -> JailStart:
    (folder / "second").hardlink_to(folder / "drive")
    return call


def _foreign(name: str, mode: int) -> Change:
    def change(folder: Path, call: JailStart) -> JailStart:
        os.chown(folder / name, OTHER, OTHER)
        (folder / name).chmod(mode)
        return call

    return change


def _fifo(name: str) -> Change:
    def change(folder: Path, call: JailStart) -> JailStart:
        (folder / name).unlink()
        os.mkfifo(folder / name, 0o600)
        os.chown(folder / name, USER, USER)
        return call

    return change


def _file(folder: Path, call: JailStart) -> JailStart:
    return call.replaced(console_input=f"{folder}/metrics")


def _other_program(name: str) -> Change:
    def change(folder: Path, call: JailStart) -> JailStart:
        with (folder / name).open("ab") as file:
            file.write(b"x")
        return call

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_link("drive"), "symbolic"),
        (_link("firecracker"), "symbolic"),
        (_link("console"), "symbolic"),
        (_folder_link, "ot a directory"),
        (_second_name, "2 names"),
        (_foreign("drive", 0o600), "ermission denied"),
        (_foreign("drive", 0o666), "belongs to user"),
        (_foreign("console", 0o666), "belongs to user"),
        (_foreign("kernel", 0o600), "ermission denied"),
        (_foreign("in", 0o666), "no FIFO of the caller's"),
        (_fifo("drive"), "no regular file"),
        (_fifo("jailer"), "no regular file"),
        (_fifo("kernel"), "no regular file"),
        (_fifo("log"), "no regular file"),
        (_file, "no FIFO of the caller's"),
        (_other_program("firecracker"), "not the release"),
        (_other_program("jailer"), "not the release"),
        (_huge_kernel, "at most"),
        (lambda _, call: call.replaced(kernel="/etc/shadow"), "ermission denied"),
        (lambda _, call: call.replaced(drives=("rw:root:/etc/passwd",)), "ermission denied"),
        (lambda _, call: call.replaced(drives=("ro:root:/etc/passwd",)), "belongs to user 0"),
        (lambda _, call: call.replaced(drives=("ro:root:/proc/version",)), "no file of a disk"),
        (lambda _, call: call.replaced(console_log="/proc/self/fd/1"), "ot a directory"),
        (lambda _, call: call.replaced(tap=True), "there is no interface"),
    ],
)
def test_what_a_caller_may_not_have(
    call: JailStart, folder: Path, change: Change, words: str
) -> None:
    before = {path.name: path.lstat().st_mode for path in Path("/etc").glob("passwd")}
    refused(change(folder, call), words)
    assert before == {path.name: path.lstat().st_mode for path in Path("/etc").glob("passwd")}


def test_another_users_tap_is_not_given(call: JailStart) -> None:
    subprocess.run(["ip", "tuntap", "add", call.name, "mode", "tap"], check=True)
    try:
        refused(call.replaced(tap=True), "carries no mark")
    finally:
        subprocess.run(["ip", "link", "delete", call.name], check=True)


def test_what_lies_in_the_way_is_cleared(call: JailStart) -> None:
    JAILS.mkdir(mode=0o755, exist_ok=True)
    elsewhere = JAILS / "elsewhere"
    elsewhere.mkdir()
    try:
        jail_of(call).symlink_to(elsewhere)
        start(call)
        assert not jail_of(call).is_symlink()
        assert list(elsewhere.iterdir()) == []
    finally:
        elsewhere.rmdir()


def test_a_jail_of_another_user_stays(call: JailStart) -> None:
    pid = start(call)
    vm_id = jail_calls.vm_id_of(call.name)
    execute.perform([JailEnd(call.name, tap_alias(OTHER, vm_id))], OTHER)
    assert Path(f"/proc/{pid}").exists()
    assert jail_of(call).exists()
