"""``image import``: an OCI or Docker image, a root tree or an export as an image."""

from __future__ import annotations

import re
from pathlib import Path

import click

from banger.cli.image_making import make_image
from banger.cli.lazy import Command
from banger.cli.making import DEFAULT_IMAGE, Making
from banger.cli.session import connect
from banger.cli.values import DISK_SIZE, EXISTING_FILE, EXISTING_FOLDER, IMAGE_NAME
from banger.client.views import OperationView
from banger.errors import InvalidInput, NotFound

_ENDING = re.compile(r"(\.(oci|docker|tar|tgz|gz|zst|tzst))+$", re.IGNORECASE)


def name_of(path: str) -> str:
    """The name of an image that is made of this file or folder. Raises ``InvalidInput``."""
    from banger.naming import check_name

    name = _ENDING.sub("", Path(path).name).lower()
    try:
        return check_name(re.sub(r"[^a-z0-9]+", "-", name).strip("-"), "image")
    except InvalidInput as error:
        raise InvalidInput(
            f"the image needs a name that {path!r:.100} does not give",
            cause=error.cause,
            resolution="banger image import FILE --name NAME",
        ) from None


@click.command(
    "import",
    cls=Command,
    examples=(
        "docker save alpine -o alpine.tar && banger image import alpine.tar",
        "banger image import layout/ --name web --size 4G",
        "banger image import exported.tar.gz",
    ),
    help="""Make an image of an archive of anybody's.

    FILE is an OCI image (archive or layout folder), what docker save or docker export writes, or
    what banger image export has written; as it is, in gzip or in zstd. The image gets kernel and
    modules of the default image, which is built first if it is missing, or your own. Every VM of
    it can be reached by exec and cp, whatever is in it; ssh needs a server in it.""",
)
@click.argument("path", metavar="FILE", type=click.Path(exists=True, readable=True))
@click.option("--name", type=IMAGE_NAME, metavar="NAME", help="Name of the image (as FILE).")
@click.option("--size", type=DISK_SIZE, metavar="SIZE", help="Size of the file system (8G).")
@click.option("--kernel", type=EXISTING_FILE, metavar="FILE", help="Boot this kernel.")
@click.option("--initrd", type=EXISTING_FILE, metavar="FILE", help="The initrd of --kernel.")
@click.option("--modules", type=EXISTING_FOLDER, metavar="DIR", help="The modules of --kernel.")
@click.option("-q", "--quiet", is_flag=True, help="The name only, no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the image as JSON.")
def import_image(
    *,
    path: str,
    name: str | None,
    size: int | None,
    kernel: str | None,
    initrd: str | None,
    modules: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    body: dict[str, object] = {"name": name or name_of(path), "archive": str(Path(path).absolute())}
    given = {"size_bytes": size, "kernel": kernel, "initrd": initrd, "modules": modules}
    body.update({key: value for key, value in given.items() if value})
    client = connect()

    def begin() -> OperationView:
        try:
            return client.import_image(body)
        except NotFound:
            # Its kernel and the agent's Python come from there.
            Making(client, quiet=quiet or as_json).image({}, DEFAULT_IMAGE)
            return client.import_image(body)

    make_image(client, begin, "imported", quiet=quiet, as_json=as_json)
