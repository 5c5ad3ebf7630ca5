"""One package a line, comments, and nothing that apt would read as something else."""

from __future__ import annotations

import pytest

from banger.errors import InvalidInput
from banger.service.package_list import parse


def test_comments_and_repetitions() -> None:
    assert parse("# head\n\ngit\n  curl # fetch\ngit\ng++\nlibc6:amd64\n") == (
        "git",
        "curl",
        "g++",
        "libc6:amd64",
    )


@pytest.mark.parametrize(
    "line", ["git curl", "git-", "-y", "Git", "a", "../x", "git;reboot", "$(x)", "git=1", "é"]
)
def test_what_is_no_package_name(line: str) -> None:
    with pytest.raises(InvalidInput, match="line 2"):
        parse(f"curl\n{line}\n")


def test_an_empty_list() -> None:
    with pytest.raises(InvalidInput, match="empty"):
        parse("# nothing\n")
