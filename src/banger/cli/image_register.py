"""``image register``: one's own files as an image."""

from __future__ import annotations

import click

from banger.cli.image_making import make_image
from banger.cli.lazy import Command
from banger.cli.session import connect
from banger.cli.values import EXISTING_FILE, EXISTING_FOLDER, IMAGE_NAME


@click.command(
    "register",
    cls=Command,
    examples=(
        "banger image register own --rootfs own.ext4 --kernel vmlinuz --initrd initrd",
        "banger image register tiny --rootfs tiny.ext4 --kernel bzImage",
    ),
    help="""Make an image of your own files, which are checked, copied, and left as they are.

    The kernel may be any that can boot the root file system, with the initrd of any
    distribution or none. Its modules are given to each VM at its first boot.""",
)
@click.argument("name", type=IMAGE_NAME)
@click.option("--rootfs", type=EXISTING_FILE, required=True, metavar="FILE", help="An ext4 file.")
@click.option(
    "--kernel", type=EXISTING_FILE, required=True, metavar="FILE", help="The kernel that boots it."
)
@click.option("--initrd", type=EXISTING_FILE, metavar="FILE", help="The kernel's initrd.")
@click.option(
    "--modules", type=EXISTING_FOLDER, metavar="DIR",
    help="The kernel's modules, such as /lib/modules/VERSION.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="The name only, no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the image as JSON.")
def register(
    *,
    name: str,
    rootfs: str,
    kernel: str,
    initrd: str | None,
    modules: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    body = {"name": name, "rootfs": rootfs, "kernel": kernel}
    if initrd:
        body["initrd"] = initrd
    if modules:
        body["modules"] = modules
    client = connect()
    make_image(
        client, lambda: client.register_image(body), "registered", quiet=quiet, as_json=as_json
    )
