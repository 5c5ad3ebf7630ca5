"""Completes names of VMs and images that fit the command; never starts a daemon, never fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from banger.cli.session import paths
from banger.client.client import BangerClient
from banger.errors import BangerError

#: Seconds that a completion may wait for the daemon.
PATIENCE = 0.5

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def vm_names(*states: str) -> Completer:
    """Names of the VMs in ``states`` (all if none is given) that are not yet on the line."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        given = ctx.params.get(param.name or "") or ()
        used = {given} if isinstance(given, str) else set(given)
        try:
            vms = _client().vms(("id", "name", "state"), timeout=PATIENCE)
        except BangerError:
            return []
        return sorted(
            vm["name"]
            for vm in vms
            if (not states or vm["state"] in states)
            and vm["name"].startswith(incomplete)
            and vm["name"] not in used
        )

    return complete


def image_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Names of images."""
    return _matching(lambda client: (image["name"] for image in client.images()), incomplete)


def port_texts(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The ports that the VM named on the line publishes."""
    from banger.cli.ports import port_text

    name = str(ctx.params.get("name") or "")
    return _matching(lambda client: map(port_text, client.vm(name)["forwards"]), incomplete)


def operation_ids(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Ids of the operations that still run."""
    return _matching(
        lambda client: (operation["id"] for operation in client.operations(active=True)),
        incomplete,
    )


def _client() -> BangerClient:
    return BangerClient(str(paths().socket))


def _matching(fetch: Callable[[BangerClient], Iterable[str]], incomplete: str) -> list[str]:
    try:
        return sorted(name for name in fetch(_client()) if name.startswith(incomplete))
    except BangerError:
        return []
