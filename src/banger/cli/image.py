"""``image build``, ``list``, ``show`` and ``delete``."""

from __future__ import annotations

from typing import Any

import click

from banger.cli.image_making import make_image
from banger.cli.lazy import Command
from banger.cli.listing import (
    Field,
    Object,
    Output,
    output_options,
    print_items,
    print_json,
    take_output,
)
from banger.cli.making import DEFAULT_IMAGE, DOCKER_IMAGE, suite_field
from banger.cli.moments import age
from banger.cli.names import image_names
from banger.cli.package_file import read_list
from banger.cli.session import connect, settings
from banger.cli.sheet import print_sheet
from banger.cli.targets import act, report
from banger.cli.units import format_size
from banger.cli.values import DISK_SIZE, EXISTING_FILE, IMAGE_NAME


def _plain(key: str, title: str) -> Field:
    return Field(key, title, lambda item: str(item.get(key) or "-"))


def _bytes(key: str, title: str, source: str) -> Field:
    return Field(
        key, title, lambda item: format_size(item.get(source) or 0), source=source, right=True
    )


FIELDS = [
    _plain("name", "NAME"),
    _plain("id", "ID"),
    _plain("state", "STATE"),
    _plain("suite", "SUITE"),
    _plain("kernel", "KERNEL")._replace(
        source="kernel_version", show=lambda image: str(image.get("kernel_version") or "-")
    ),
    _bytes("size", "SIZE", "size_bytes"),
    _bytes("used", "ON DISK", "allocated_bytes"),
    Field("vms", "VMS", lambda i: str(len(i.get("used_by") or ())), source="used_by", right=True),
    Field("created", "AGE", lambda i: age(i.get("created_at")), source="created_at", right=True),
    Field("drift", "DRIFT", lambda image: "yes" if image.get("drift") else "no"),
]
DEFAULT = ("name", "state", "suite", "kernel", "size", "used", "vms", "created")


@click.command(
    "list",
    cls=Command,
    examples=("banger image list", "banger image list --json"),
    help="List images.",
)
@output_options
def list_images(**options: Any) -> None:
    output = take_output(options)
    images: list[Object] = list(connect().images())
    empty = "no images yet; run builds one, or: banger image build"
    print_items(images, FIELDS, DEFAULT, output, empty=empty)


@click.command(
    "show",
    cls=Command,
    examples=("banger image show debian", "banger image show debian --json"),
    help="Show an image.",
)
@click.argument("name", shell_complete=image_names)
@click.option("--json", "as_json", is_flag=True, help="Print the image as JSON.")
def show(*, name: str, as_json: bool) -> None:
    image = connect().image(name)
    if as_json:
        print_json(image)
        return
    drift = "yes: the package list has changed since" if image["drift"] else "no"
    print_sheet(
        [
            ("name", image["name"]),
            ("id", image["id"]),
            ("state", image["state"]),
            ("suite", image["suite"]),
            ("kernel", image["kernel_version"]),
            ("size", format_size(image["size_bytes"])),
            ("on disk", format_size(image["allocated_bytes"])),
            ("rootfs sha256", image["rootfs_sha256"]),
            ("packages sha256", image["packages_sha256"]),
            ("docker", "yes" if image["docker"] else "no"),
            ("drift", drift),
            ("made", image["origin"] or "built from the package archive"),
            ("used by", ", ".join(image["used_by"]) or "no VM"),
            ("created", f"{image['created_at']} ({age(image['created_at'])} ago)"),
            ("files", image["directory"]),
        ]
    )


@click.command(
    "build",
    cls=Command,
    examples=(
        "banger image build",
        "banger image build --docker",
        "banger image build small --packages small.apt --size 4G",
        "banger image build debian --rebuild",
    ),
    help="Build an image from the Debian archive; NAME is debian, or with --docker docker-debian,"
    " if not given.",
)
@click.argument("name", required=False, type=IMAGE_NAME, shell_complete=image_names)
@click.option("--docker", is_flag=True, default=None, help="Put Docker into it.")
@click.option(
    "--packages", type=EXISTING_FILE, metavar="FILE",
    help="Package list, one name a line, # comments (yours, or the shipped one).",
)  # fmt: skip
@click.option("--size", type=DISK_SIZE, metavar="SIZE", help="Size of the file system (8G).")
@click.option("--suite", metavar="SUITE", help="Debian release (bookworm).")
@click.option("--rebuild", is_flag=True, help="Replace the image if it exists.")
@click.option("-q", "--quiet", is_flag=True, help="The name only, no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the image as JSON.")
def build(
    *,
    name: str | None,
    docker: bool | None,
    packages: str | None,
    size: int | None,
    suite: str | None,
    rebuild: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    name = name or (DOCKER_IMAGE if docker else DEFAULT_IMAGE)
    body: dict[str, Any] = {"name": name, "rebuild": rebuild}
    if docker:
        body["docker"] = True
    if packages:
        body["packages"] = read_list(packages)
    if size:
        body["size_bytes"] = size
    body |= suite_field(suite or settings().suite)
    client = connect()
    make_image(client, lambda: client.build_image(body), "built", quiet=quiet, as_json=as_json)


@click.command(
    "delete",
    cls=Command,
    examples=("banger image delete small", "banger image rm small other"),
    help="Delete images that no VM uses.",
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=image_names)
@click.option("-q", "--quiet", is_flag=True, help="Names only, no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the operations as JSON.")
def delete(*, names: tuple[str, ...], quiet: bool, as_json: bool) -> int:
    client = connect()
    outcomes = act(
        client,
        list(dict.fromkeys(names)),
        client.delete_image,
        quiet=quiet or as_json,
        known=lambda: [image["name"] for image in client.images()],
    )
    form = "json" if as_json else "table"
    return report(outcomes, "deleted image", Output(form, quiet=quiet))
