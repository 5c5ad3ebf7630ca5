"""Renders our known_hosts file: every VM's host key under its alias (pure)."""

from __future__ import annotations

from collections.abc import Mapping

_HEADER = "# Written by banger; changes are lost. One pinned host key for each VM.\n"


def known_hosts_text(entries: Mapping[str, str]) -> str:
    """The file for ``alias -> public key line``, sorted, comments of keys left out.

    Raises ``ValueError`` for an alias or a key that would change the meaning of a line.
    """
    lines = [_HEADER]
    for alias, public in sorted(entries.items()):
        kind, key = public.split()[:2]
        if not alias.isprintable() or set(alias) & set(" ,*?!|#@[]"):
            raise ValueError(f"{alias!r} cannot be a host alias")
        lines.append(f"{alias} {kind} {key}\n")
    return "".join(lines)
