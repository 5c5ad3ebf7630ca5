"""Orders kernel modules by what each one says it needs. No depmod index is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

#: ``NAME.ko`` with or without a compression suffix.
_FILE = re.compile(r"^(?P<name>.+)\.ko(?:\.(?:xz|zst|gz))?$")


def module_name(path: str) -> str:
    """The name the kernel knows a module file by: no folder, no suffix, ``-`` as ``_``.

    Raises ``ValueError`` if the path is not that of a module.
    """
    match = _FILE.match(PurePosixPath(path).name)
    if match is None:
        raise ValueError(f"{path!r} is not a kernel module")
    return match["name"].replace("-", "_")


def parse_builtin(text: str) -> frozenset[str]:
    """The names in a ``modules.builtin``."""
    return frozenset(module_name(line.strip()) for line in text.splitlines() if line.strip())


def depends_of(module: bytes) -> tuple[str, ...]:
    """The names that an uncompressed module says it needs (``depends=`` in its ``.modinfo``)."""
    # The section is a list of zero-ended strings, and no other part of a module holds this one.
    match = re.search(rb"\0depends=([^\0]*)\0", module)
    text = match[1].decode("ascii", errors="replace") if match else ""
    return tuple(name.replace("-", "_") for name in text.split(",") if name)


def load_order(
    wanted: Iterable[str],
    needs: Callable[[str], Sequence[str] | None],
    builtin: frozenset[str] = frozenset(),
) -> tuple[list[str], list[str]]:
    """The modules to load for the wanted ones, each after what it needs; and those that lack.

    ``needs`` tells the names a module depends on, ``None`` if there is no such module.
    What is built into the kernel needs no loading.
    """
    order: dict[str, None] = {}
    missing: dict[str, None] = {}
    visited = set(builtin)

    def add(name: str) -> None:
        if name in visited:
            return
        visited.add(name)
        below = needs(name)
        if below is None:
            missing[name] = None
            return
        for needed in below:
            add(needed.replace("-", "_"))
        order[name] = None

    for name in wanted:
        add(name.replace("-", "_"))
    return list(order), list(missing)
