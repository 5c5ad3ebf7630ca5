"""``run``: from nothing to a VM that answers, or to one command's exit status."""

from __future__ import annotations

from typing import Any

import click

from banger.cli.environment import env_options, variables
from banger.cli.failures import show
from banger.cli.guest_command import run_in_guest, run_on_terminal
from banger.cli.interrupts import termination_interrupts
from banger.cli.lazy import SplitCommand, split_off
from banger.cli.listing import print_json
from banger.cli.making import Making
from banger.cli.reach import reached_at
from banger.cli.session import connect, note, say, settings
from banger.cli.values import DURATION
from banger.cli.vm_options import vm_body, vm_options
from banger.client.client import BangerClient
from banger.client.views import VMView
from banger.errors import EXEC_FAILED, BangerError, InvalidInput


@click.command(
    "run",
    cls=SplitCommand,
    examples=(
        "banger run --name web",
        "banger run --rm -- uname -a",
        "banger run --ram 2G --vcpu 4 --disk-size 16G",
    ),
    help="Create and start a VM and wait until it answers; with a COMMAND, run that in it.",
    options_metavar="[OPTIONS] [-- COMMAND...]",
)
@vm_options
@click.option("--no-wait", is_flag=True, help="Do not wait until the guest answers.")
@click.option("--rm", "remove", is_flag=True, help="Delete the VM when COMMAND ends.")
@click.option("-t", "--tty", "terminal", is_flag=True, help="Give COMMAND a terminal (by SSH).")
@click.option("-i", "--interactive", is_flag=True, hidden=True, help="Accepted by habit.")
@env_options
@click.option(
    "--timeout", type=DURATION, metavar="TIME",
    help="How long the guest may take to answer (120s).",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="The name only, no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the VM as JSON.")
def run(
    *,
    no_wait: bool,
    remove: bool,
    timeout: float | None,
    quiet: bool,
    as_json: bool,
    terminal: bool,
    interactive: bool,  # noqa: ARG001 - accepted by habit
    env: tuple[str, ...],
    env_files: tuple[str, ...],
    **options: Any,
) -> int:
    given = variables(env, env_files)
    preferences = settings()
    body = vm_body(options, preferences)
    command = split_off()
    _check(command, no_wait=no_wait, remove=remove, as_json=as_json)
    alone = {"--tty": terminal, "--env": env, "--env-file": env_files}
    if not command and any(alone.values()):
        raise InvalidInput(
            f"{next(name for name, value in alone.items() if value)} is given without a COMMAND",
            cause="it is for the command that is run in the VM, and there is none",
            resolution="banger run -t -e LANG=C -- bash",
        )
    client = connect()
    making = Making(client, quiet=quiet, suite=preferences.suite)
    with termination_interrupts():
        try:
            making.image(body, preferences.image)
            making.create(body)
            making.start(wait=not no_wait, timeout=timeout or preferences.start_timeout)
            vm = making.vm()
        except KeyboardInterrupt:
            note("interrupted; removing what was made (Ctrl-C again leaves it)")
            making.remove()
            raise
        except BangerError as error:
            if remove:
                making.remove()
            elif making.vm_id:
                _keep_failed(client, making.vm_id, error)
            raise
        if not command:
            _announce(vm, quiet=quiet, as_json=as_json, waited=not no_wait)
            return 0
        command_in = run_on_terminal if terminal else run_in_guest
        try:
            return command_in(client, making.vm_id, command, env=given)
        except BangerError as error:
            show(error)
            return EXEC_FAILED
        finally:
            # The VM goes whatever happened, if it was asked to.
            if remove:
                making.remove()


def _check(command: tuple[str, ...], *, no_wait: bool, remove: bool, as_json: bool) -> None:
    if command and (no_wait or as_json):
        option = "--no-wait" if no_wait else "--json"
        raise InvalidInput(
            f"{option} and a COMMAND exclude each other",
            cause="the command's own output and exit status are what is passed on",
            resolution="banger run -- uname -a",
        )
    if remove and not command:
        raise InvalidInput(
            "--rm is given without a COMMAND",
            cause="the VM is deleted when the command ends, and there is none",
            resolution="banger run --rm -- uname -a",
        )


def _keep_failed(client: BangerClient, vm_id: str, error: BangerError) -> None:
    """A VM that was made but did not start stays for a look; say how."""
    try:
        name = client.vm(vm_id)["name"]
    except BangerError:
        return
    if not error.resolution:
        error.resolution = f"banger logs {name}"
    note(f"the VM {name} is kept: banger logs {name}, or delete it: banger rm -f {name}")


def _announce(vm: VMView, *, quiet: bool, as_json: bool, waited: bool) -> None:
    name = vm["name"]
    if as_json:
        print_json(vm)
    elif quiet:
        say(name)
    else:
        say(f"{name} is running" if waited else f"{name} is starting")
        rows = [("address", reached_at(vm))]
        if vm["dns_name"]:
            rows.append(("name", vm["dns_name"]))
        rows += [
            ("shell", f"banger ssh {name}"),
            ("command", f"banger exec {name} -- uname -a"),
            ("stop", f"banger stop {name}"),
            ("delete", f"banger rm -f {name}"),
        ]
        for title, value in rows:
            say(f"  {title:<9}{value}")
