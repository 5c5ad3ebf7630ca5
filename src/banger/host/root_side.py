"""Installs, removes and verifies the root side: a folder of root's, and one line for sudo."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from banger.errors import HostNotReady, InvalidInput, PermissionRefused
from banger.host import sudo
from banger.host.command import Command, run_blocking
from banger.host.files import write_atomic
from banger.privileged import installation, jail, sudoers
from banger.privileged.calls import CallFailed

TUN = Path("/dev/net/tun")


@dataclass(frozen=True, slots=True)
class Place:
    """Where things go; tests use places of their own."""

    prefix: Path = sudoers.PREFIX
    sudoers_folder: Path = sudoers.SUDOERS_FOLDER

    def sudoers_file(self, uid: int) -> Path:
        return self.sudoers_folder / sudoers.file_name(uid)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that setup does: ``text`` says it, ``content`` is what a file will hold."""

    text: str
    path: Path
    mode: int = 0
    content: bytes | None = None


def shipped(prefix: Path) -> dict[str, bytes]:
    """Every file of the root side by its name below ``prefix``: all of it standard library."""
    files = {
        installation.PROGRAM_NAME: installation.rendered_program(prefix).encode(),
        "banger/__init__.py": b"",
        "banger/privileged/__init__.py": b"",
    }
    for entry in resources.files("banger.privileged").iterdir():
        if entry.name.endswith(".py"):
            files[f"banger/privileged/{entry.name}"] = entry.read_bytes()
    return files


def problems(uid: int, place: Place) -> list[str]:
    """What is not as setup leaves it, as far as this user may look; empty if all is well."""
    reason = installation.unsafe_folder(place.prefix)
    found = [reason] if reason else []
    found += installation.differences(place.prefix, shipped(place.prefix).items())
    if os.geteuid() == 0 and uid != 0:
        expected = sudoers.render(uid, place.prefix)
        reason = installation.sudoers_problem(uid, expected, place.sudoers_folder)
        found += [reason] if reason else []
    return found


def plan(uid: int, place: Place) -> Iterator[Change]:
    """What has to be changed for the user; nothing where all is as it should be."""
    if uid != 0 and problems(uid, place):
        for name, content in sorted(shipped(place.prefix).items()):
            path = place.prefix / name
            mode = 0o755 if name == installation.PROGRAM_NAME else 0o644
            yield Change(f"write {path} (root's, mode {mode:04o})", path, mode, content)
        compiled = place.prefix / "banger/privileged" / installation.COMPILED
        yield Change(f"let Python compile the modules into {compiled}", compiled, 0o755)
        path = place.sudoers_file(uid)
        content = sudoers.render(uid, place.prefix).encode()
        yield Change(f"write {path} (root's, mode 0440)", path, 0o440, content)
    if uid != 0 and tun_is_closed():
        # The kernel lets nobody make an interface through it, nor open another user's.
        yield Change(f"let everybody open {TUN} (mode 0666)", TUN, 0o666)


def tun_is_closed() -> bool:
    """Whether only root can open the device that TAPs are reached by."""
    try:
        return TUN.stat().st_mode & 0o006 != 0o006
    except OSError:
        return False


def install(uid: int, place: Place) -> list[Change]:
    """Do what ``plan`` says. Raises ``PermissionRefused`` or ``HostNotReady``."""
    _require_root("banger setup")
    changes = list(plan(uid, place))
    if any(change.content is not None for change in changes):
        reason = installation.unsafe(place.prefix.parent)
        if reason:
            raise HostNotReady(
                f"the root side cannot be installed in {place.prefix}",
                cause=reason,
                resolution=f"chown root {place.prefix.parent} && chmod go-w {place.prefix.parent}",
            )
        _clear(place.prefix)
        for folder in (place.prefix, place.prefix / "banger", place.prefix / "banger/privileged"):
            folder.mkdir(mode=0o755)
            folder.chmod(0o755)
    for change in changes:
        if change.path.name == installation.COMPILED:
            _compile(change.path.parent)
        if change.content is None:
            change.path.chmod(change.mode)
        elif change.path.parent == place.sudoers_folder:
            _write_sudoers(change.path, change.content)
        else:
            write_atomic(change.path, change.content, change.mode)
    return changes


def _compile(folder: Path) -> None:
    """By the Python that runs it, which starts anew for each call and then writes nothing."""
    options = ("-q", "--invalidation-mode", "checked-hash")
    run_blocking(Command(("/usr/bin/python3", "-IS", "-m", "compileall", *options, str(folder))))


def _write_sudoers(path: Path, content: bytes) -> None:
    """A file that sudo cannot read would take sudo from everybody: it is asked first."""
    run_blocking(Command(("visudo", "-c", "-f", "-"), stdin=content, package="sudo"))
    write_atomic(path, content, 0o440)


def remove(uid: int, place: Place) -> list[str]:
    """Take the user's line back, and the program with the last line; what went, as text."""
    _require_root("banger setup --remove")
    gone = []
    own = place.sudoers_file(uid)
    if own.exists():
        own.unlink()
        gone.append(f"removed {own}")
    others = [path for path in place.sudoers_folder.glob("banger-*") if path != own]
    if place.prefix.exists() and not others:
        _clear(place.prefix)
        gone.append(f"removed {place.prefix}")
    # Where a jail still runs, its folder is what it is found by.
    with contextlib.suppress(CallFailed, OSError):
        jail.tidy()
    return gone


def _clear(prefix: Path) -> None:
    if prefix.is_symlink():
        prefix.unlink()
    elif prefix.exists():
        shutil.rmtree(prefix)


def verify(uid: int, place: Place) -> str:
    """Ask the installed root side as the user would; why it cannot be used, or nothing."""
    found = problems(uid, place)
    if found:
        return found[0]
    if os.geteuid() == 0:
        return ""
    reply = sudo.ask(installation.program(place.prefix), timeout=10)
    error = reply.get("error") or {}
    return str(error.get("text") or reply.get("sudoers") or "")


def user_of(name: str) -> int:
    """The user that setup is for: named, or the one who called sudo, or ourselves."""
    text = name or os.environ.get("SUDO_UID") or str(os.getuid())
    try:
        return int(text) if text.isascii() and text.isdigit() else pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError) as error:
        raise InvalidInput(
            f"there is no user {name!r:.60}",
            cause="this host does not know it",
            resolution="banger setup --user NAME",
        ) from error


def _require_root(command: str) -> None:
    if os.geteuid() != 0:
        raise PermissionRefused(
            f"{command} changes what belongs to root",
            cause="it runs as an ordinary user",
            resolution=f"sudo {command}",
        )
