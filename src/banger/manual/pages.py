"""All manual pages: those of the commands, of two other programs and of two files."""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path

from banger.daemon.main import parser as daemon_parser
from banger.host import files
from banger.manual.commands import SOURCE, command_pages
from banger.manual.troff import MARK, Page, bold, italic
from banger.mapdns.main import parser as mapdns_parser
from banger.settings import FIELDS, Settings

_DAEMON = """
bangerd does the work for banger: it makes, starts and watches the VMs of one user and answers on
a socket that this user alone can reach. Commands start it when they need it.

It can be stopped, replaced or killed at any time. VMs go on running, and the next one finds them
again; what it was doing is finished or undone when it starts.
"""
_PACKAGES = """
The Debian packages of an image that banger builds. Where the user has no such file, the list that
came with banger is used; banger image build --packages takes another one for one image.

Each line names a package; # begins a comment. Packages bring their dependencies and not their
recommendations. An image that is already built does not change with the list: banger run says
that it differs, and banger image build NAME --rebuild builds it anew.
"""
_SETTINGS = """
The user's preferences, in TOML: one NAME = VALUE a line. A variable of the environment,
BANGER_ and the name in capitals, comes before the file. What is not set is left to banger.
"""


def all_pages() -> dict[str, str]:
    """File name -> source, ``bangerd.8`` and so on."""
    own = (_daemon(), _mapdns(), _packages(), _settings())
    return command_pages() | {f"{page.name}.{page.section}": page.text for page in own}


def write_pages(folder: Path) -> list[Path]:
    """Write the pages below ``folder`` (as ``man1/banger.1``); old ones of ours go.

    A file of another's making is left alone. Raises as ``host.files``.
    """
    written = []
    pages = {path_of(folder, name): text for name, text in all_pages().items()}
    for path in _ours(folder):
        if path not in pages:
            path.unlink()
    for path, text in pages.items():
        if path.exists() and not _is_ours(path):
            continue
        with files.explained(f"write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def remove_pages(folder: Path) -> None:
    """Remove all pages of ours below ``folder``, and nothing else."""
    for path in _ours(folder):
        with files.explained(f"remove {path}"):
            path.unlink(missing_ok=True)


def path_of(folder: Path, name: str) -> Path:
    """Where man(1) looks for a page."""
    return folder / f"man{name.rpartition('.')[2]}" / name


def _ours(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("man[158]/*.[158]")) if _is_ours(path)]


def _is_ours(path: Path) -> bool:
    with files.explained(f"read {path}"), path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip("\n") == MARK


def _daemon() -> Page:
    page = Page("bangerd", 8, "the daemon behind banger", SOURCE)
    page.heading("Synopsis")
    page.synopsis([("bangerd", "[--foreground]")])
    page.heading("Description")
    page.paragraphs(_DAEMON)
    page.heading("Options")
    page.terms(_argparse_options(daemon_parser()))
    page.heading("Files")
    page.terms(
        [
            (italic("$XDG_RUNTIME_DIR/banger/bangerd.sock"), "The socket; the API is OpenAPI 3.1."),
            (italic("~/.local/state/banger/"), "VMs, images, the database and the log."),
        ]
    )
    page.references([("banger", 1), ("banger-daemon", 1), ("banger-settings", 5)])
    return page


def _mapdns() -> Page:
    parser = mapdns_parser()
    page = Page("mapdns", 1, "names below .vm and the addresses they lead to", SOURCE)
    actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]  # noqa: SLF001 - argparse shows its commands in no other way
    commands = {name: each for action in actions for name, each in action.choices.items()}
    page.heading("Synopsis")
    page.synopsis(
        [(f"mapdns {name}", " ".join(each.format_usage().split()[3:])) for name, each in
         commands.items()]
    )  # fmt: skip
    page.heading("Description")
    page.paragraphs(f"{parser.description}\n\n{parser.epilog}")
    helps = {each.dest: each.help or "" for action in actions for each in action._choices_actions}  # noqa: SLF001 - as above
    page.heading("Commands")
    page.terms([(bold(name), f"{helps[name].capitalize()}.") for name in commands])
    page.heading("Options")
    rows = {row: None for each in commands.values() for row in _argparse_options(each)}
    page.terms(rows)
    page.heading("Examples")
    page.literal(["mapdns set web 10.208.0.2", "mapdns list", "mapdns rm web"])
    page.references([("banger", 1)])
    return page


def _packages() -> Page:
    page = Page("banger-packages", 5, "which packages an image gets", SOURCE)
    page.heading("Synopsis")
    page.synopsis([("~/.config/banger/packages.apt", "")])
    page.heading("Description")
    page.paragraphs(_PACKAGES)
    page.heading("The list that came with banger")
    shipped = resources.files("banger").joinpath("guest_files", "packages.apt")
    page.literal(shipped.read_text(encoding="utf-8").splitlines())
    page.references([("banger-image-build", 1)])
    return page


def _settings() -> Page:
    page = Page("banger-settings", 5, "preferences of banger", SOURCE)
    page.heading("Synopsis")
    page.synopsis([("~/.config/banger/config.toml", "")])
    page.heading("Description")
    page.paragraphs(_SETTINGS)
    page.heading("Settings")
    defaults = Settings()._asdict()
    page.terms(
        [
            (bold(name), f"{field.help[:1].upper()}{field.help[1:]} ({_shown(defaults[name])}).")
            for name, field in FIELDS.items()
        ]
    )
    page.heading("Examples")
    page.literal(['image = "docker-debian"', "start_timeout = 300", 'storage = "copy"'])
    page.references([("banger", 1), ("bangerd", 8)])
    return page


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "those of the host"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _argparse_options(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    rows = []
    for action in parser._actions:  # noqa: SLF001 - argparse shows its options in no other way
        if not action.option_strings:
            continue
        term = ", ".join(bold(name) for name in action.option_strings)
        if action.nargs != 0:
            term += f" {italic((action.metavar or action.dest).upper())}"  # type: ignore[union-attr]  # a tuple is for several values, which no option has
        text = (action.help or "").replace("show this help message and exit", "show the help")
        rows.append((term, f"{text[:1].upper()}{text[1:].rstrip('.')}."))
    return rows
