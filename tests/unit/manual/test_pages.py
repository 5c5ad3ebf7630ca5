"""Every command has its page, and every page is good troff that says what the command says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest

from banger.cli.lazy import LazyGroup
from banger.cli.tree import commands
from banger.manual.pages import all_pages, path_of, remove_pages, write_pages
from banger.manual.troff import MARK, Page, escape
from banger.settings import FIELDS
from tests.requirements import needs

PAGES = all_pages()
COMMANDS = list(commands())
IDS = ["-".join(("banger", *words)) for words, _ in COMMANDS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man")
    write_pages(folder)
    return folder


def shown(folder: Path, name: str) -> str:
    """The page as man(1) shows it, in one line; it must come without a warning."""
    source = str(path_of(folder, name).relative_to(folder))
    argv = ["groff", "-man", "-ww", "-s", "-Tutf8", "-P-cbou", "-rLL=200n", "-rHY=0", source]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == "", name
    return " ".join(done.stdout.replace("\u2010", "-").replace("\u2212", "-").split())


def test_every_command_has_its_page() -> None:
    others = {"mapdns.1", "banger-packages.5", "banger-settings.5", "bangerd.8"}
    assert {f"{name}.1" for name in IDS} | others == set(PAGES)


@needs("groff")
@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_good_troff(folder: Path, name: str) -> None:
    text = shown(folder, name)
    assert "NAME" in text
    assert "SEE ALSO" in text
    assert "\\" not in text.replace("\\n", "")


@needs("groff")
@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=IDS)
def test_a_page_says_what_the_command_says(
    folder: Path, words: tuple[str, ...], command: click.Command
) -> None:
    text = shown(folder, "-".join(("banger", *words)) + ".1")
    assert " ".join(("banger", *words)) in text
    assert " ".join((command.help or "").split()) in text
    for example in getattr(command, "examples", ()):
        assert " ".join(example.split()) in text
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert all(name in text for name in parameter.opts)
            assert parameter.help is None or " ".join(parameter.help.split()) in text
    if isinstance(command, LazyGroup):
        assert all(entry.help in text for entry in command.entries)


def test_references_lead_somewhere() -> None:
    for name, text in PAGES.items():
        for other, section in re.findall(r"\\fB([a-z\\-]+)\\fR\((\d)\)", text):
            assert f"{other.replace(chr(92), '')}.{section}" in PAGES, name
        if ".so " in text:
            target = re.search(r"^\.so man(\d)/(.*)$", text, re.M)
            assert target is not None
            assert ".so" not in PAGES[target[2]]


def test_settings_are_all_described() -> None:
    assert all(escape(name) in PAGES["banger-settings.5"] for name in FIELDS)


def test_whatever_a_text_holds(tmp_path: Path) -> None:
    page = Page("odd", 1, "a 'sentence' with \\fB", "banger 1")
    page.heading("it's -- a ^heading~")
    page.paragraphs(".TH not a macro\n\n'nor this\n\nback\\slash -option")
    page.literal([".EE", "", "'quoted", "a\\b"])
    assert not [line for line in page.text.splitlines() if line.startswith(("'", ".TH not"))]
    assert "\\e" in page.text


@needs("groff")
def test_whatever_a_text_holds_is_good_troff(tmp_path: Path) -> None:
    page = Page("odd", 1, "s", "banger 1")
    page.paragraphs(".TH not a macro\n\n'nor this\n\nback\\slash -option `~^\"")
    page.literal([".EE", "", "'quoted", "a\\b"])
    path = tmp_path / "man1/odd.1"
    path.parent.mkdir()
    path.write_text(page.text)
    text = shown(tmp_path, "odd.1")
    assert ".TH not a macro 'nor this back\\slash -option `~^\" .EE 'quoted a\\b" in text


def test_only_our_own_pages_are_touched(tmp_path: Path) -> None:
    theirs, old = tmp_path / "man1/banger-run.1", tmp_path / "man1/banger-gone.1"
    theirs.parent.mkdir()
    theirs.write_text("another's\n")
    old.write_text(f"{MARK}\n")
    written = write_pages(tmp_path)
    assert theirs not in written
    assert theirs.read_text() == "another's\n"
    assert not old.exists()
    assert len(written) == len(PAGES) - 1
    remove_pages(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]
