"""``vm start``, ``stop``, ``restart``, ``kill``, ``pause`` and ``resume``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import click

from banger.cli.lazy import Command
from banger.cli.listing import Output
from banger.cli.names import vm_names
from banger.cli.session import connect, note, settings
from banger.cli.targets import act, expand, report
from banger.cli.values import DURATION, MAX_SECONDS

_F = TypeVar("_F", bound=Callable[..., Any])


class Verb(NamedTuple):
    """One action: its API name, the word for having done it, the states it is legal in."""

    action: str
    done: str
    states: tuple[str, ...]


#: The states are those of ``banger.model.lifecycle`` (a test compares).
START = Verb("start", "started", ("stopped", "failed"))
STOP = Verb("stop", "stopped", ("running", "paused"))
RESTART = Verb("restart", "restarted", ("running", "paused", "stopped"))
KILL = Verb("kill", "killed", ("running", "paused", "starting", "stopping"))
PAUSE = Verb("pause", "paused", ("running",))
RESUME = Verb("resume", "resumed", ("paused",))


def targets(*states: str) -> Callable[[_F], _F]:
    """The arguments and options of every command on several VMs."""

    def decorate(function: _F) -> _F:
        for decorator in (
            click.option("--json", "as_json", is_flag=True, help="Print the operations as JSON."),
            click.option("-q", "--quiet", is_flag=True, help="Names only, no progress."),
            click.option("--all", "everything", is_flag=True, help="Every VM it can be done to."),
            click.argument("names", nargs=-1, metavar="NAME...", shell_complete=vm_names(*states)),
        ):
            function = decorator(function)
        return function

    return decorate


def perform(
    verb: Verb,
    names: tuple[str, ...],
    *,
    everything: bool,
    quiet: bool,
    as_json: bool,
    body: Mapping[str, Any] | None = None,
) -> int:
    """Do it to every target and return the exit status."""
    output = Output(format="json" if as_json else "table", quiet=quiet)
    client = connect()
    refs = expand(client, names, everything=everything, states=verb.states)
    if everything and not refs and not quiet:
        note(f"no VM to {verb.action}")
    outcomes = act(
        client,
        refs,
        lambda ref: client.act(ref, verb.action, dict(body or {})),
        quiet=quiet or as_json,
    )
    return report(outcomes, verb.done, output)


def _timeout(text: str) -> Callable[[_F], _F]:
    return click.option("--timeout", type=DURATION, metavar="TIME", help=text)


def _start_body(*, no_wait: bool, timeout: float | None) -> dict[str, Any]:
    seconds = settings().start_timeout if timeout is None else timeout
    return {"wait": not no_wait, "timeout": min(seconds, MAX_SECONDS)}


_no_wait = click.option("--no-wait", is_flag=True, help="Do not wait until the guest answers.")


@click.command(
    "start",
    cls=Command,
    examples=("banger start web db", "banger start --all"),
    help="Start VMs and wait until they answer.",
)
@targets(*START.states)
@_no_wait
@_timeout("How long a guest may take to answer (120s).")
def start(*, names: tuple[str, ...], no_wait: bool, timeout: float | None, **flags: Any) -> int:
    return perform(START, names, **flags, body=_start_body(no_wait=no_wait, timeout=timeout))


@click.command(
    "stop",
    cls=Command,
    examples=("banger stop web db", "banger stop --all --timeout 10"),
    help="Stop VMs: ask the guest to shut down, and end the VMM after the timeout.",
)
@targets(*STOP.states)
@_timeout("How long the guest may take (30s).")
@click.option("-f", "--force", is_flag=True, help="Do not ask the guest: the same as kill.")
def stop(*, names: tuple[str, ...], timeout: float | None, force: bool, **flags: Any) -> int:
    if force:
        return perform(KILL, names, **flags)
    return perform(STOP, names, **flags, body={} if timeout is None else {"timeout": timeout})


@click.command(
    "restart",
    cls=Command,
    examples=("banger restart web", "banger restart --all --no-wait"),
    help="Stop VMs that run, start them, and wait until they answer.",
)
@targets(*RESTART.states)
@_no_wait
@_timeout("How long a guest may take to answer (120s).")
def restart(*, names: tuple[str, ...], no_wait: bool, timeout: float | None, **flags: Any) -> int:
    return perform(RESTART, names, **flags, body=_start_body(no_wait=no_wait, timeout=timeout))


@click.command(
    "kill",
    cls=Command,
    examples=("banger kill web", "banger kill --all"),
    help="End VMs at once, as pulling the plug; unsaved data of the guest is lost.",
)
@targets(*KILL.states)
def kill(*, names: tuple[str, ...], **flags: Any) -> int:
    return perform(KILL, names, **flags)


@click.command(
    "pause",
    cls=Command,
    examples=("banger vm pause web", "banger vm pause --all"),
    help="Halt the virtual CPUs of VMs; their memory stays.",
)
@targets(*PAUSE.states)
def pause(*, names: tuple[str, ...], **flags: Any) -> int:
    return perform(PAUSE, names, **flags)


@click.command(
    "resume",
    cls=Command,
    examples=("banger vm resume web", "banger vm resume --all"),
    help="Let paused VMs go on.",
)
@targets(*RESUME.states)
def resume(*, names: tuple[str, ...], **flags: Any) -> int:
    return perform(RESUME, names, **flags)
