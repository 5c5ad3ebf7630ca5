"""The names and their addresses: one JSON file, changed under a lock, never seen half written."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import ipaddress
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from banger.errors import CorruptState, DeadlineExceeded, InvalidInput, NotFound
from banger.host import files

#: The top-level domain of all names (spec row N3).
DOMAIN = "vm"
#: RFC 1035: a label has at most 63 octets.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
#: Addresses of one name: what fits into any DNS answer.
MAX_ADDRESSES = 8
_LOCK_SECONDS = 10.0
_LOCK_PAUSE = 0.005
_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """Where a name leads. ``owner`` is empty for what a person set by hand."""

    addresses: tuple[str, ...]
    owner: str = ""


Table = Mapping[str, Record]


class Records:
    """The file ``records.json``. Every method is safe against any number of other processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Record]:
        """All records by full name. Raises ``CorruptState`` if the file is not one of ours."""
        with files.explained(f"read {self.path}"):
            try:
                text = self.path.read_bytes()
            except FileNotFoundError:
                return {}
        return parse(text, self.path)

    def change(
        self, edit: Callable[[dict[str, Record]], None], *, lasting: bool = True
    ) -> dict[str, Record]:
        """Let ``edit`` change the table under the lock; returns what the file holds after it.

        Nothing is written if nothing changed. What ``edit`` raises leaves the file as it was.
        Without ``lasting`` a power cut may bring back what was there before.
        """
        files.make_private_folder(self.path.parent)
        with self._locked():
            before = self.read()
            table = dict(before)
            edit(table)
            if table != before:
                write = files.write_atomic if lasting else files.write_whole
                write(self.path, render(table))
            return table

    def set(self, name: str, addresses: Sequence[str], owner: str = "") -> str:
        """Let the name lead to these addresses alone; returns its full form."""
        full = full_name(name)
        record = Record(check_addresses(addresses), owner)
        self.change(lambda table: table.update({full: record}))
        return full

    def remove(self, name: str) -> str:
        """Forget the name; returns its full form. Raises ``NotFound``."""
        full = full_name(name)

        def edit(table: dict[str, Record]) -> None:
            if table.pop(full, None) is None:
                raise NotFound(
                    f"there is no record {full}",
                    cause=f"{self.path} does not have it",
                    resolution="mapdns list",
                )

        self.change(edit)
        return full

    def stamp(self) -> tuple[int, int, int]:
        """A value that differs whenever the file has been changed."""
        try:
            status = self.path.stat()
        except OSError:
            return (0, 0, 0)
        return (status.st_mtime_ns, status.st_ino, status.st_size)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # A file of its own: the records are replaced, and a lock on them would go with them.
        lock = self.path.with_name(f"{self.path.stem}.lock")
        with files.explained(f"open the lock {lock}"):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(lock, flags, 0o600)
        try:
            _wait_for(descriptor, lock)
            yield
        finally:
            os.close(descriptor)


def _wait_for(descriptor: int, lock: Path) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    "the records are locked",
                    cause=f"another process has held {lock} for {_LOCK_SECONDS:g} s",
                    resolution=f"fuser -v {lock}, then end that process",
                ) from None
            time.sleep(_LOCK_PAUSE)


def full_name(name: str) -> str:
    """``web``, ``web.vm`` and ``Web.vm.`` all mean ``web.vm``. Raises ``InvalidInput``."""
    text = name.removesuffix(".").lower() if name.isascii() else name
    label = text.removesuffix(f".{DOMAIN}")
    if not _LABEL.match(label):
        raise InvalidInput(
            f"the name {name!r} is not allowed",
            cause="a name has 1 to 63 of a-z, 0-9 and '-', with no '-' at either end",
            resolution="choose a name such as calm-otter or calm-otter.vm",
        )
    return f"{label}.{DOMAIN}"


def check_addresses(addresses: Sequence[str]) -> tuple[str, ...]:
    """The addresses in their usual form, each once. Raises ``InvalidInput``."""
    return _checked(tuple(addresses))


@functools.lru_cache(maxsize=4096)
def _checked(addresses: tuple[str, ...]) -> tuple[str, ...]:
    # Kept: all records are read again with each name that is published.
    found: dict[str, None] = {}
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            address = None
        if address is None or address.is_multicast or getattr(address, "scope_id", None):
            raise InvalidInput(
                f"{text!r} is no address that a name can lead to",
                cause="it must be one IPv4 or IPv6 address, without prefix length or interface",
                resolution="give an address such as 10.208.0.2 or fd00::2",
            )
        found[str(address)] = None
    if not 1 <= len(found) <= MAX_ADDRESSES:
        raise InvalidInput(
            f"a name cannot lead to {len(found)} addresses",
            cause=f"1 to {MAX_ADDRESSES} are possible",
            resolution="mapdns set NAME ADDRESS",
        )
    return tuple(found)


def render(table: Table) -> str:
    """The table as the text of the file, sorted by name."""
    records = {
        name: {"addresses": list(record.addresses), "owner": record.owner}
        for name, record in sorted(table.items())
    }
    return json.dumps({"records": records}, indent=2) + "\n"


def parse(text: bytes, path: Path) -> dict[str, Record]:
    """The table in the text of ``path``. Raises ``CorruptState`` for anything else."""
    try:
        if len(text) > _MAX_BYTES:
            raise ValueError("it is too large")
        records = json.loads(text)["records"]
        return {full_name(name): _record(entry) for name, entry in records.items()}
    except InvalidInput as error:
        cause = error.brief
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        cause = f"{type(error).__name__}: {error}"
    raise CorruptState(
        f"the records in {path} cannot be read",
        cause=cause,
        resolution=f"correct the file, or move it away: mv {path} {path}.old",
    )


def _record(entry: Mapping[str, object]) -> Record:
    addresses, owner = entry["addresses"], entry.get("owner", "")
    if not isinstance(addresses, list) or not isinstance(owner, str):
        raise TypeError("a record has a list of addresses and an owner")
    return Record(check_addresses([str(address) for address in addresses]), owner)
