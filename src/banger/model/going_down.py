"""Which commands take a guest down, so that losing it is how they end (pure)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_VERBS = frozenset({"poweroff", "reboot", "halt", "shutdown"})
#: Programs that take such a verb as an argument.
_TAKERS = frozenset({"systemctl", "busybox", "sudo", "doas", "nohup", "exec"})
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh"})
_BETWEEN = re.compile(r"[;&|\n]+")


def takes_guest_down(argv: Sequence[str]) -> bool:
    """Whether a power-off or reboot of the guest is what this command is for.

    ``poweroff``, ``systemctl reboot``, ``sh -c 'sync; halt'``: the last command counts.
    """
    words = list(argv)
    if not words:
        return False
    name = words[0].rpartition("/")[2]
    if name in _SHELLS and len(words) > 2 and re.fullmatch(r"-[a-z]*c", words[1]):
        return line_takes_guest_down(words[2])
    if name in _TAKERS:
        rest = [word for word in words[1:] if not word.startswith("-")]
        return takes_guest_down(rest[:1] if name == "systemctl" else rest)
    return name in _VERBS


def line_takes_guest_down(line: str) -> bool:
    """As ``takes_guest_down``, for a line of a shell."""
    commands = [part for part in _BETWEEN.split(line) if part.strip()]
    try:
        return bool(commands) and takes_guest_down(shlex.split(commands[-1]))
    except ValueError:
        return False
