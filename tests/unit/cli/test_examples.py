"""Every example of every help is a command line that banger takes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest

from banger.cli.lazy import LazyGroup
from banger.cli.root import root
from banger.cli.tree import commands
from banger.errors import InvalidInput
from tests.examples import calls, examples

#: Files that examples name, besides those whose names have an ending.
FILES = ("vmlinuz", "initrd", "bzImage", "motd")


def parse(arguments: list[str]) -> list[str]:
    """The words of the command that the arguments call; raises what the command line would."""
    words: list[str] = []
    command: click.Group = root
    context = command.make_context("banger", list(arguments))
    while isinstance(command, click.Group):
        left = [*context._protected_args, *context.args]
        name, found, left = command.resolve_command(context, left)
        assert name is not None
        assert found is not None
        words.append(name)
        context = found.make_context(name, left, parent=context)
        if not isinstance(found, click.Group):
            return words
        command = found
    raise AssertionError("a group is no command")


@pytest.mark.parametrize("line", examples())
def test_an_example_is_a_command(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = calls(line)
    words = {word for arguments in found for word in arguments}
    for name in (*FILES, *(word for word in words if re.fullmatch(r"[a-z]+(\.[a-z0-9]+)+", word))):
        (tmp_path / name).write_text("x")
    (tmp_path / "layout").mkdir()
    monkeypatch.chdir(tmp_path)
    assert found, "no banger in it"
    for arguments in found:
        parse(arguments)


def test_what_is_no_command_is_found() -> None:
    for arguments in (["run", "--nmae", "web"], ["strat", "web"], ["vm", "set", "web", "--memory"],
                      ["rename", "one"], ["run", "--vcpu", "99"]):  # fmt: skip
        with pytest.raises((click.UsageError, InvalidInput)):
            parse(arguments)
    assert calls("tar c . | banger exec web -- tar x && sudo banger setup") == [
        ["exec", "web", "--", "tar", "x"], ["setup"]
    ]  # fmt: skip
    assert calls('eval "$(banger completion bash)"') == [["completion", "bash"]]


def test_the_shell_takes_every_example() -> None:
    script = "\n".join(examples())
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_every_command_has_examples_of_its_own() -> None:
    for words, command in commands():
        lines = getattr(command, "examples", ())
        called = [parse_words(arguments) for line in lines for arguments in calls(line)]
        assert any(command in each for each in called), words


def parse_words(arguments: list[str]) -> list[click.Command]:
    """The groups and the command that the arguments lead to."""
    found: list[click.Command] = [root]
    for word in arguments:
        group = found[-1]
        if not isinstance(group, click.Group):
            break
        command = group.get_command(click.Context(group), word)
        if command is None and isinstance(group, LazyGroup) and group.fallback:
            command = group.get_command(click.Context(group), group.fallback)
        if command is None:
            break
        found.append(command)
    return found
