"""Runs a command in a guest with this process's own streams, by the agent or else by SSH."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from banger.api.frames import STDOUT
from banger.cli.interrupts import forwarded
from banger.client.client import BangerClient
from banger.client.exec_stream import DescriptorInput, ExecStream
from banger.errors import NoAgent


def write_stream(channel: int, data: bytes) -> None:
    """Pass output on as it is."""
    stream = (sys.stdout if channel == STDOUT else sys.stderr).buffer
    stream.write(data)
    stream.flush()


def run_in_guest(
    client: BangerClient,
    ref: str,
    argv: Sequence[str],
    *,
    stdin: bool = True,
    env: dict[str, str] | None = None,
) -> int:
    """The exit status of ``argv`` in the guest; SIGINT, SIGTERM and SIGHUP go there too."""
    sys.stdout.flush()
    sys.stderr.flush()
    source = DescriptorInput(sys.stdin.fileno()) if stdin and sys.stdin is not None else None
    try:
        with forwarded() as interrupts:
            return ExecStream(
                client,
                ref,
                argv,
                write=write_stream,
                source=source,
                interrupts=interrupts,
                env=env,
            ).run()
    except NoAgent:
        from banger.client.terminal import run_ssh
        from banger.model.going_down import takes_guest_down

        ssh = [*client.access(ref)["ssh"], "--", ssh_line(argv, env)]
        if takes_guest_down(argv):
            from banger.cli.going_down import run_down

            return run_down(client, ref, ssh, stdin=stdin)
        return run_ssh(ssh, stdin=stdin)


def run_on_terminal(
    client: BangerClient, ref: str, argv: Sequence[str], env: dict[str, str] | None = None
) -> int:
    """The exit status of ``argv`` on a terminal of its own in the guest, which is ours here."""
    from banger.client.terminal import run_ssh

    program, *options = client.access(ref)["ssh"]
    return run_ssh([program, "-t", *options, "--", ssh_line(argv, env)])


def ssh_line(argv: Sequence[str], env: dict[str, str] | None = None) -> str:
    """``argv`` as the one line that a guest's shell gets by SSH."""
    given = [f"{name}={value}" for name, value in (env or {}).items()]
    return shlex.join(["env", "--", *given, *argv] if given else argv)
