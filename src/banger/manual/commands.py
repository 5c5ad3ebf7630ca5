"""Renders the page of each command of ``banger`` from the command itself."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import click

from banger import __version__
from banger.cli.lazy import LazyGroup
from banger.cli.topics import TOPICS
from banger.cli.tree import commands
from banger.manual.troff import Page, bold, italic, redirection

SOURCE = f"banger {__version__}"
Words = tuple[str, ...]


def command_pages() -> dict[str, str]:
    """File name -> source of the page of each command.

    A command with several names, as ``banger ls`` and ``banger vm list``, has its page under the
    longest of them, and the others lead there.
    """
    names: dict[int, list[Words]] = {}
    found: dict[int, click.Command] = {}
    for words, command in commands():
        names.setdefault(id(command), []).append(words)
        found[id(command)] = command
    pages = {}
    for key, command in found.items():
        ways = sorted(names[key], key=len, reverse=True)
        first = page_name(ways[0])
        pages[f"{first}.1"] = _page(command, ways).text
        for other in ways[1:]:
            pages[f"{page_name(other)}.1"] = redirection(first, 1)
    return pages


def page_name(words: Words) -> str:
    """As git has it: ``banger vm start`` is described in ``banger-vm-start``."""
    return "-".join(("banger", *words))


def summary(command: click.Command) -> str:
    """The first sentence of the help, as the line that ``apropos`` shows."""
    text = " ".join((command.help or "").split("\n\n")[0].split())
    return text.partition(". ")[0].partition("; ")[0].rstrip(".") or str(command.name)


def _page(command: click.Command, ways: Sequence[Words]) -> Page:
    context = _context(command, ways[0])
    page = Page(page_name(ways[0]), 1, summary(command), SOURCE)
    page.heading("Synopsis")
    rest = " ".join(command.collect_usage_pieces(context))
    page.synopsis([(" ".join(("banger", *words)), rest) for words in ways])
    page.heading("Description")
    page.paragraphs(inspect.cleandoc(command.help or ""))
    examples = getattr(command, "examples", ())
    if examples:
        page.heading("Examples")
        page.literal(examples)
    if isinstance(command, LazyGroup):
        _subcommands(page, command, ways[0])
    page.heading("Options")
    page.terms(_options(command, context))
    if not ways[0]:
        _topics(page)
    page.references(_related(command, ways[0]))
    return page


def _context(command: click.Command, words: Words) -> click.Context:
    context: click.Context | None = None
    for name in ("banger", *words[:-1]) if words else ():
        context = click.Context(click.Command(name), parent=context, info_name=name)
    name = words[-1] if words else "banger"
    return click.Context(command, parent=context, info_name=name, **command.context_settings)


def _subcommands(page: Page, group: LazyGroup, words: Words) -> None:
    for section in dict.fromkeys(entry.section for entry in group.entries):
        page.heading(section)
        rows = []
        for entry in group.entries:
            if entry.section == section:
                also = f" Also: {', '.join(entry.aliases)}." if entry.aliases else ""
                term = bold(" ".join(("banger", *words, entry.name)))
                rows.append((term, f"{entry.help}{also}"))
        page.terms(rows)


def _options(command: click.Command, context: click.Context) -> list[tuple[str, str]]:
    rows = []
    for option in command.get_params(context):
        if not isinstance(option, click.Option) or option.hidden:
            continue
        names = [*option.opts, *option.secondary_opts]
        term = ", ".join(bold(name) for name in sorted(names, key=len))
        if not option.is_flag and not option.count:
            term += f" {italic(option.make_metavar(context))}"
        required = " Required." if option.required else ""
        rows.append((term, f"{option.help or ''}{required}"))
    return rows


def _topics(page: Page) -> None:
    for text in TOPICS.values():
        title, _, body = text.strip("\n").partition("\n")
        page.heading(title)
        page.literal(body.strip("\n").splitlines(), indent=0)


def _related(command: click.Command, words: Words) -> list[tuple[str, int]]:
    related: list[tuple[str, int]] = []
    if words:
        related.append((page_name(words[:-1]), 1))
    if isinstance(command, LazyGroup):
        related += [(page_name((*words, entry.name)), 1) for entry in command.entries]
    if not words:
        related += [("mapdns", 1), ("banger-packages", 5), ("banger-settings", 5), ("bangerd", 8)]
    return related
