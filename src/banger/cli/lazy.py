"""Command classes: groups that import a command when it is used, help that leads with examples."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import click
from click import Context, HelpFormatter

CONTEXT_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


class Entry(NamedTuple):
    """One command of a group: ``target`` is ``module:attribute``, ``names`` its aliases too."""

    name: str
    target: str
    help: str
    section: str = "Commands"
    aliases: tuple[str, ...] = ()


def _remember(ctx: Context, param: click.Parameter, value: object) -> None:
    """Keep a common option's value where ``cli.session`` finds it, before or after the verb."""
    if value:
        ctx.find_root().ensure_object(dict)[param.name] = value


def common_options(*, hidden: bool = True) -> list[click.Parameter]:
    """The options that every command takes; only the root's help shows them."""
    return [
        click.Option(
            ["--no-color"], is_flag=True, hidden=hidden, expose_value=False, callback=_remember,
            help="No colours (also NO_COLOR, BANGER_NO_COLOR).",
        ),
        click.Option(
            ["--debug"], is_flag=True, hidden=hidden, expose_value=False, callback=_remember,
            help="Show the traceback of an error.",
        ),
    ]  # fmt: skip


def write_examples(formatter: HelpFormatter, examples: Sequence[str]) -> None:
    """The examples, which come before everything else."""
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class _Parsing(click.Command):
    """Tells every usage error which command it belongs to, for the message."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            # The parser raises some of its errors without saying where.
            error.ctx = error.ctx or ctx
            raise


class Command(_Parsing):
    """A command whose help is: usage, one sentence, examples, options."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any):
        kwargs.setdefault("context_settings", CONTEXT_SETTINGS)
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.params.extend(common_options())

    def format_help_text(self, ctx: Context, formatter: HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        write_examples(formatter, self.examples)


_SPLIT_OFF = "banger.split_off"


class SplitCommand(Command):
    """A command that takes what follows ``--`` away before options are looked for."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[_SPLIT_OFF] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])


def split_off() -> tuple[str, ...]:
    """What followed ``--`` on the command line of a ``SplitCommand``."""
    words: tuple[str, ...] = click.get_current_context().meta.get(_SPLIT_OFF, ())
    return words


class LazyGroup(_Parsing, click.Group):
    """A group that knows its commands by name and imports one only to run it.

    A first word that names no command is an argument of ``fallback``, where there is one.
    """

    def __init__(
        self,
        *args: Any,
        entries: Sequence[Entry],
        examples: Sequence[str] = (),
        fallback: str = "",
        **kwargs: Any,
    ):
        kwargs.setdefault("context_settings", CONTEXT_SETTINGS)
        super().__init__(*args, **kwargs)
        self.entries = entries
        self.fallback = fallback
        self.examples = examples
        self.by_name = {name: entry for entry in entries for name in (entry.name, *entry.aliases)}
        self.params.extend(common_options(hidden=self.name != "banger"))

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [entry.name for entry in self.entries]

    def get_command(
        self,
        ctx: Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        entry = self.by_name.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.by_name and not args[0].startswith("-"):
            if self.fallback:
                return super().resolve_command(ctx, [self.fallback, *args])
            raise click.exceptions.NoSuchCommand(args[0], possibilities=self.by_name, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_help_text(self, ctx: Context, formatter: HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        write_examples(formatter, self.examples)

    def format_commands(
        self,
        ctx: Context,  # noqa: ARG002 - click's signature
        formatter: HelpFormatter,
    ) -> None:
        width = max(len(entry.name) for entry in self.entries)
        for section in dict.fromkeys(entry.section for entry in self.entries):
            rows = [
                (entry.name.ljust(width), entry.help)
                for entry in self.entries
                if entry.section == section
            ]
            with formatter.section(section):
                formatter.write_dl(rows)

    def shell_complete(
        self, ctx: Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem[Any]]:
        from click.shell_completion import CompletionItem

        # The help of the entries, so that completing a verb imports no command.
        items: list[CompletionItem[Any]] = [
            CompletionItem(name, help=entry.help)
            for name, entry in self.by_name.items()
            if name.startswith(incomplete) and (name == entry.name or incomplete == name)
        ]
        if incomplete.startswith("-"):
            items += click.Command.shell_complete(self, ctx, incomplete)
        return items
