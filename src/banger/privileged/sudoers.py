"""Renders the one line that lets a user start the root side."""

from __future__ import annotations

from pathlib import Path

PREFIX = Path("/usr/local/lib/banger-privileged")
SUDOERS_FOLDER = Path("/etc/sudoers.d")


def render(uid: int, prefix: Path = PREFIX) -> str:
    """The user's file: one command, no argument, nothing of the user's environment.

    A user is named by number, so that no name can hold what means something to sudo, and
    there is no wildcard: one of sudo's matches any text, blanks included.
    """
    return (
        "# Written by banger setup; taken back by: banger setup --remove\n"
        f'#{uid} ALL=(root) NOPASSWD:NOSETENV: {prefix}/banger-privileged ""\n'
    )


def file_name(uid: int) -> str:
    """The name of the user's file; sudo reads no name with a dot."""
    return f"banger-{uid}"
