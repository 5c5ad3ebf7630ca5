"""``image interactive``: a copy of an image, changed by hand in a shell; and ``image keep``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from banger.cli.confirm import agrees, can_ask
from banger.cli.image_making import make_image
from banger.cli.interrupts import termination_interrupts
from banger.cli.lazy import Command
from banger.cli.making import Making
from banger.cli.names import image_names, vm_names
from banger.cli.progress import complete
from banger.cli.session import command_path, connect, note, settings
from banger.cli.text import clean
from banger.cli.values import DISK_SIZE, EXISTING_FILE, IMAGE_NAME, MEMORY, VCPUS
from banger.client.client import BangerClient
from banger.errors import AlreadyExists, BangerError, InvalidInput

#: The states in which a VM can become an image, those of ``banger.model.lifecycle``.
KEEPABLE = ("stopped", "failed")
#: What OpenSSH ends with when the connection is lost, and a shell may as well.
_LOST = 255
#: Seconds that the guest has to end in order.
_STOP_TIMEOUT = 60.0
#: So that the VM's name is one as well.
_NAME_LENGTH = 64


@click.command(
    "interactive",
    cls=Command,
    examples=(
        "banger image interactive debian --out tools --nat",
        "banger image interactive tools --discard",
    ),
    help="""Change a copy of an image by hand, in a shell, and keep it as another image.

    A VM of BASE (an image, or an ext4 FILE with the kernel of your image) is started, and you
    are root in it. Leave with exit: the result becomes the image NAME. A shell that ends with
    another status throws it away, after asking you. BASE stays as it is, and nothing is
    changed but by you; what makes one VM different from others is taken out.""",
)
@click.argument("base", shell_complete=image_names)
@click.option(
    "--out", type=IMAGE_NAME, metavar="NAME", help="Name of the result (interactive-BASE)."
)
@click.option("--discard", is_flag=True, help="Throw the copy away in the end.")
@click.option("--vcpu", "--vcpus", "vcpus", type=VCPUS, metavar="N", help="Virtual CPUs (2).")
@click.option("--ram", "--memory", "memory", type=MEMORY, metavar="SIZE", help="Memory (1024).")
@click.option(
    "--overlay-size", type=DISK_SIZE, metavar="SIZE", help="Most that may be written (8G)."
)
@click.option("--nat", is_flag=True, help="Let it reach the internet.")
@click.option("-q", "--quiet", is_flag=True, help="The name only, no progress.")
def interactive(
    *,
    base: str,
    out: str | None,
    discard: bool,
    vcpus: int | None,
    memory: int | None,
    overlay_size: int | None,
    nat: bool,
    quiet: bool,
) -> int:
    preferences = settings()
    client = connect()
    body = _source(client, base, preferences.image)
    name = _name_of(out, body)
    _require_free(client, name, wanted=not discard)
    body |= {
        "name": f"{name[: _NAME_LENGTH - 5]}-{os.urandom(2).hex()}",
        "vcpus": vcpus or 2,
        "memory_mib": memory or 1024,
        "nat": nat,
    }
    if overlay_size:
        body["overlay_bytes"] = overlay_size
    making = Making(client, quiet=quiet, suite=preferences.suite)
    with termination_interrupts():
        try:
            making.image(body, preferences.image)
            making.create(body)
            making.start(wait=True, timeout=preferences.start_timeout)
            making.vm()
        except (KeyboardInterrupt, BangerError):
            note("removing what was made")
            making.remove()
            raise
        if not quiet:
            end = "it is thrown away" if discard else f"it becomes the image {name}"
            note(f"this is a copy of {clean(base)}; leave with exit, and {end}")
        status = _session(client, making.vm_id, body["name"], name)
    if status == _LOST:
        note(f"the session is lost; the VM {body['name']} stays as it is")
        _how_to_go_on(body["name"], name)
        return status
    if discard or not _wanted(status):
        making.remove()
        note("thrown away; nothing was kept")
        return status
    try:
        stopping = client.act(making.vm_id, "stop", {"timeout": _STOP_TIMEOUT})
        complete(client, stopping, quiet=quiet)
        make_image(
            client,
            lambda: client.keep_image(making.vm_id, name),
            "kept",
            quiet=quiet,
            as_json=False,
        )
    except (KeyboardInterrupt, BangerError):
        note(f"the VM {body['name']} stays as it is")
        _how_to_go_on(body["name"], name)
        raise
    making.remove()
    return 0


@click.command(
    "keep",
    cls=Command,
    examples=("banger image keep web tools",),
    help="""Make an image of a stopped VM's root file system, without what is the VM's own.

    Its host name, keys, addresses and machine id are taken out of the copy; the VM and its
    work disk stay as they are.""",
)
@click.argument("vm", shell_complete=vm_names(*KEEPABLE))
@click.argument("name", type=IMAGE_NAME)
@click.option("-q", "--quiet", is_flag=True, help="The name only, no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the image as JSON.")
def keep(*, vm: str, name: str, quiet: bool, as_json: bool) -> None:
    client = connect()
    make_image(client, lambda: client.keep_image(vm, name), "kept", quiet=quiet, as_json=as_json)


def _source(client: BangerClient, base: str, default: str) -> dict[str, Any]:
    """The fields of a VM that say what it boots."""
    if "/" in base or base.endswith(".ext4"):
        path: str = EXISTING_FILE.convert(base, None, None)
        return {"rootfs": path, "image": default}
    if base != default:
        image = client.image(base)
        return {"image": image["name"]}
    return {"image": base}


def _name_of(out: str | None, body: dict[str, Any]) -> str:
    if out:
        return out
    source = Path(body.get("rootfs", "")).name.partition(".")[0] or body["image"]
    name = f"interactive-{source}"
    try:
        IMAGE_NAME.convert(name, None, None)
    except InvalidInput as error:
        raise InvalidInput(
            f"no name for the result can be made of {source!r:.80}",
            cause=error.cause,
            resolution=f"{command_path()} BASE --out NAME",
        ) from None
    return name


def _require_free(client: BangerClient, name: str, *, wanted: bool) -> None:
    if wanted and any(image["name"] == name for image in client.images()):
        raise AlreadyExists(
            f"the image {name} exists already",
            cause="what you would do in the copy could not be kept under that name",
            resolution=f"{command_path()} BASE --out OTHER, or banger image rename {name} NEW",
        )


def _session(client: BangerClient, vm_id: str, vm: str, name: str) -> int:
    """A shell in the VM on this terminal; its exit status."""
    from banger.client.child import ssh_in_terminal

    argv = list(client.access(vm_id)["ssh"])
    if sys.stdin is not None and sys.stdin.isatty():
        argv.insert(1, "-t")
    try:
        return ssh_in_terminal(argv)
    except KeyboardInterrupt:
        note(f"interrupted; the VM {vm} stays as it is")
        _how_to_go_on(vm, name)
        raise


def _wanted(status: int) -> bool:
    """Whether the copy is to be kept after a shell that ended with ``status``."""
    if status == 0:
        return True
    note(f"the shell ended with status {status}")
    return can_ask() and agrees("Type yes to keep the copy all the same")


def _how_to_go_on(vm: str, name: str) -> None:
    note(f"  go on in it: banger ssh {vm}")
    note(f"  keep it:     banger stop {vm} && banger image keep {vm} {name}")
    note(f"  drop it:     banger rm -f {vm}")
