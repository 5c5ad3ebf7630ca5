"""The options that describe a VM, shared by ``run`` and ``create``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from banger.cli.making import DOCKER_IMAGE
from banger.cli.names import image_names
from banger.cli.ports import parse_port
from banger.cli.session import command_path
from banger.cli.values import (
    DISK_SIZE,
    EXISTING_FILE,
    EXISTING_FOLDER,
    IMAGE_NAME,
    MEMORY,
    VCPUS,
    VM_NAME,
    Checked,
)
from banger.errors import InvalidInput
from banger.settings import Settings

_F = TypeVar("_F", bound=Callable[..., Any])

#: Option's argument name -> field of the request, for what is sent only if given.
BODY = {
    "name": "name",
    "vcpus": "vcpus",
    "memory": "memory_mib",
    "overlay_size": "overlay_bytes",
    "disk_size": "work_disk_bytes",
    "image": "image",
    "rootfs": "rootfs",
    "kernel": "kernel",
    "initrd": "initrd",
    "modules": "modules",
    "vmm": "vmm",
    "storage": "storage",
    "network": "network",
    "profile": "profile",
    "nat": "nat",
    "isolated": "isolated",
    "host_access": "host_access",
    "jail": "jail",
    "forwards": "forwards",
    "restart": "restart",
}


def vm_options(function: _F) -> _F:
    """Add the options; they arrive as the keys of ``BODY``, and ``docker``."""
    for decorator in reversed(
        [
            click.option("--name", type=VM_NAME, help="Name (default: a free one is made up)."),
            click.option(
                "--vcpu", "--vcpus", "vcpus", type=VCPUS, metavar="N", help="Virtual CPUs (2)."
            ),
            click.option(
                "--ram", "--memory", "memory", type=MEMORY, metavar="SIZE",
                help="Memory: MiB, or 512M, 2G (1024).",
            ),
            click.option(
                "--image", type=IMAGE_NAME, metavar="NAME", shell_complete=image_names,
                help="Image to boot (debian, built when missing).",
            ),
            click.option(
                "--docker", is_flag=True, help="The image docker-debian, built when missing."
            ),
            click.option(
                "--overlay-size", type=DISK_SIZE, metavar="SIZE",
                help="Most that the VM may write over its image (8G).",
            ),
            click.option(
                "--disk-size", type=DISK_SIZE, metavar="SIZE", help="Add a work disk."
            ),
            click.option("--rootfs", type=EXISTING_FILE, metavar="FILE", help="Own ext4 file."),
            click.option("--kernel", type=EXISTING_FILE, metavar="FILE", help="Own kernel."),
            click.option("--initrd", type=EXISTING_FILE, metavar="FILE", help="Its initrd."),
            click.option(
                "--modules", type=EXISTING_FOLDER, metavar="DIR",
                help="Its modules, such as /lib/modules/VERSION.",
            ),
            click.option(
                "--vmm", type=click.Choice(["auto", "qemu", "firecracker"]), help="VMM (auto)."
            ),
            click.option(
                "--storage", type=click.Choice(["auto", "dm_snapshot", "qcow2", "reflink", "copy"]),
                help="How the overlay is kept (auto).",
            ),
            click.option(
                "--network", type=click.Choice(["auto", "tap", "user"]),
                help="tap needs root; user does not (auto).",
            ),
            click.option(
                "--profile", type=click.Choice(["auto", "standard", "fast"]),
                help="How the guest boots (auto).",
            ),
            click.option(
                "--forward", "-p", "forwards", type=Checked("port", parse_port), multiple=True,
                metavar="HOSTPORT:PORT", help="Publish a port of it on the host (may be repeated).",
            ),
            click.option("--nat", is_flag=True, default=None, help="Let it reach the internet."),
            click.option(
                "--isolated", is_flag=True, default=None, help="Keep it and other VMs apart."
            ),
            click.option(
                "--host-access", is_flag=True, default=None,
                help="Let it use the host's services, not only ping and DNS.",
            ),
            click.option(
                "--restart", type=click.Choice(["no", "always"]),
                help="always: start it again when it ends unasked, or the host does (no).",
            ),
            click.option(
                "--jail", is_flag=True, default=None,
                help="Run Firecracker in a jail, as a user of its own.",
            ),
        ]
    ):  # fmt: skip
        function = decorator(function)
    return function


def vm_body(options: Mapping[str, Any], preferences: Settings) -> dict[str, Any]:
    """The request for a VM; contradictions between the options are refused."""
    own = [key for key in ("rootfs", "kernel", "initrd", "modules") if options.get(key)]
    if own and options.get("image"):
        raise InvalidInput(
            f"--image and --{own[0]} exclude each other",
            cause="a VM boots either an image or your own files",
            resolution=f"{command_path()} --image {options['image']}",
        )
    if options.get("docker"):
        other = "image" if options.get("image") else "rootfs" if options.get("rootfs") else ""
        if other:
            raise InvalidInput(
                f"--docker and --{other} exclude each other",
                cause=f"--docker means the image {DOCKER_IMAGE}",
                resolution=f"{command_path()} --docker, or --{other} alone",
            )
    for option, needed in (("kernel", "rootfs"), ("initrd", "kernel"), ("modules", "kernel")):
        if options.get(option) and not options.get(needed):
            raise InvalidInput(
                f"--{option} is given without --{needed}",
                cause="a kernel needs its root file system, initrd and modules their kernel",
                resolution=f"{command_path()} --rootfs FILE --kernel FILE",
            )
    body = {
        field: options[key] for key, field in BODY.items() if options.get(key) not in (None, ())
    }
    if "forwards" in body:
        body["forwards"] = [port._asdict() for port in body["forwards"]]
    # A preference counts as if it had been typed: the daemon read the settings when it started,
    # and the environment may say something else by now.
    preferred = {name: getattr(preferences, name) for name in ("vmm", "storage", "network")}
    body = {key: value for key, value in preferred.items() if value != "auto"} | body
    image = DOCKER_IMAGE if options.get("docker") else preferences.image
    return body if own else {"image": image} | body
