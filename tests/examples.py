"""The examples that the help of each command shows, and the commands of banger in them."""

from __future__ import annotations

import re
import shlex

from banger.cli.tree import commands

#: What ends one command of a line of the shell and begins another.
_ENDS = {"|", "||", "&&", ";", "<", ">", ">>"}
_SUBSTITUTED = re.compile(r"\$\((.*?)\)")


def examples() -> list[str]:
    """Each line once, in the order of the commands."""
    lines = (line for _, command in commands() for line in getattr(command, "examples", ()))
    return list(dict.fromkeys(lines))


def calls(line: str) -> list[list[str]]:
    """The arguments of each ``banger`` that a line of the shell starts."""
    found = [call for inner in _SUBSTITUTED.findall(line) for call in calls(inner)]
    lexer = shlex.shlex(_SUBSTITUTED.sub("x", line), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in _ENDS:
            words.append(word)
            continue
        if words[:1] == ["sudo"]:
            words = words[1:]
        if words[:1] == ["banger"]:
            found.append(words[1:])
        words = []
    return found
