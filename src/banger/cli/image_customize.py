"""``image customize``: a changed copy of an image, or an image of a root file system."""

from __future__ import annotations

from typing import Any

import click

from banger.cli.image_making import make_image
from banger.cli.lazy import Command
from banger.cli.names import image_names
from banger.cli.package_file import read_list
from banger.cli.session import connect
from banger.cli.values import DISK_SIZE, EXISTING_FILE, EXISTING_FOLDER, IMAGE_NAME


@click.command(
    "customize",
    cls=Command,
    examples=(
        "banger image customize debian --docker",
        "banger image customize debian --packages more.apt --out work",
        "banger image customize ./disk.ext4 --size 16G --out own",
    ),
    help="""Make an image out of BASE: an image, or an ext4 file, which stays as it is.

    It is neither booted nor mounted. Packages are installed by its own apt, without a network and
    with no right on this host. A file without --kernel boots the kernel of the image debian.""",
)
@click.argument("base", shell_complete=image_names)
@click.option("--docker", is_flag=True, help="Put Docker into it.")
@click.option(
    "--packages", type=EXISTING_FILE, metavar="FILE",
    help="Install the packages of a list, one name a line, # comments.",
)  # fmt: skip
@click.option(
    "--size", type=DISK_SIZE, metavar="SIZE", help="Size of the file system, larger or smaller."
)
@click.option("--kernel", type=EXISTING_FILE, metavar="FILE", help="Another kernel.")
@click.option(
    "--initrd", type=EXISTING_FILE, metavar="FILE",
    help="Its initrd (one is made of its modules).",
)  # fmt: skip
@click.option(
    "--modules", type=EXISTING_FOLDER, metavar="DIR",
    help="The kernel's modules, such as /lib/modules/VERSION.",
)  # fmt: skip
@click.option("--out", type=IMAGE_NAME, metavar="NAME", help="Its name (docker-BASE).")
@click.option("-q", "--quiet", is_flag=True, help="The name only, no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the image as JSON.")
def customize(
    *, base: str, packages: str | None, quiet: bool, as_json: bool, **options: Any
) -> None:
    # What has a slash is a file; the name of an image has none.
    if "/" in base:
        base = EXISTING_FILE.convert(base, None, None)
    body: dict[str, Any] = {"base": base}
    if packages:
        body["packages"] = read_list(packages)
    fields = {"size": "size_bytes", "out": "name"}
    body |= {fields.get(key, key): value for key, value in options.items() if value}
    client = connect()
    make_image(client, lambda: client.customize_image(body), "made", quiet=quiet, as_json=as_json)
