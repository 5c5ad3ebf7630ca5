"""``daemon enable`` and ``disable``: whether bangerd starts with the host."""

from __future__ import annotations

import os
import pwd

import click

from banger.cli.lazy import Command
from banger.cli.session import note, paths, say
from banger.client.autostart import daemon_argv, prepare_log
from banger.host import boot_unit
from banger.host.command import as_root


def _unit() -> boot_unit.BootUnit:
    return boot_unit.boot_unit(daemon_argv(), os.environ, paths().daemon_log, os.geteuid())


@click.command(
    "enable",
    cls=Command,
    examples=("banger daemon enable",),
    help="Start bangerd when the host boots, by a systemd unit, so that VMs with --restart always"
    " come back by themselves. The XDG and BANGER_ variables of now are written into it.",
)
def enable() -> None:
    unit = _unit()
    prepare_log(paths().daemon_log)
    if boot_unit.enable(unit):
        say(f"bangerd starts when this machine boots: {unit.path}")
    else:
        say("bangerd starts when this machine boots already")
    user = pwd.getpwuid(os.geteuid()).pw_name
    if boot_unit.waits_for_login(user, os.environ, os.geteuid()):
        note(f"until then it waits for your login; {as_root(f'loginctl enable-linger {user}')}")


@click.command(
    "disable",
    cls=Command,
    examples=("banger daemon disable",),
    help="Start bangerd no longer when the host boots, but when a command needs it.",
)
def disable() -> None:
    done = boot_unit.disable(_unit())
    say("bangerd starts when a command needs it" if done else "bangerd does not start at boot")
