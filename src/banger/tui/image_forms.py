"""Opens the forms of images and begins what they ask for."""

from __future__ import annotations

from banger.cli.making import DEFAULT_IMAGE
from banger.cli.values import EXISTING_FILE, EXISTING_FOLDER, IMAGE_NAME
from banger.client.views import ImageView, VMView
from banger.errors import InvalidInput
from banger.tui.actions import command
from banger.tui.commands import Commands
from banger.tui.form import Field, disk_field, flag_field, options, values
from banger.tui.opening import Texts

_NAME_LIMITS = "a-z, 0-9 and '-', at most 64"


def _archive(text: str) -> str:
    """The absolute path of a file or of a layout's folder. Raises ``InvalidInput``."""
    try:
        path: str = EXISTING_FILE.convert(text, None, None)
    except InvalidInput:
        path = EXISTING_FOLDER.convert(text, None, None)
    return path


class ImageForms(Commands):
    """The part of the app that makes images."""

    def _image_name(self, value: str, *, free: bool = True) -> Field:
        taken = [image["name"] for image in self.world.images.values()] if free else []

        def check(text: str) -> str:
            name: str = IMAGE_NAME.convert(text, None, None)
            if name in taken:
                raise InvalidInput(
                    f"the name {name!r} is taken", cause="it is taken", resolution="another name"
                )
            return name

        return Field("name", "name", value, _NAME_LIMITS, "--name", check)

    def open_build(self) -> None:
        """The form of an image to be built from the package list."""
        fields = [
            self._image_name(DEFAULT_IMAGE, free=False),
            disk_field("size_bytes", "size", "8G", "--size", needed=True),
            Field("suite", "suite", "bookworm", "Debian release", "--suite"),
            flag_field("docker", "Docker", "with Docker in it", "--docker"),
            flag_field("rebuild", "replace", "an image of that name", "--rebuild"),
        ]

        def then(texts: Texts) -> None:
            body = values(fields, texts)
            if not body["docker"]:
                del body["docker"]
            self.begin(lambda: self.client.build_image(body))

        self.ask(
            "Build an image",
            fields,
            lambda texts: command(("image", "build"), [texts["name"], *options(fields[1:], texts)]),
            then,
        )

    def open_import(self) -> None:
        """The form of an archive that becomes an image."""
        fields = [
            Field("archive", "file", "", "OCI, docker save or export, banger's", check=_archive),
            self._image_name(""),
            disk_field("size_bytes", "size", "8G", "--size", needed=True),
        ]

        def then(texts: Texts) -> None:
            body = values(fields, texts)
            self.begin(lambda: self.client.import_image(body))

        self.ask(
            "Import an image",
            fields,
            lambda texts: command(
                ("image", "import"), [texts["archive"], *options(fields[1:], texts)]
            ),
            then,
        )

    def open_customize(self, image: ImageView) -> None:
        """The form of a copy that is changed by hand, in a shell on the whole terminal."""
        fields = [
            self._image_name(f"{image['name']}-2")._replace(option="--out", title="result"),
            flag_field("nat", "internet", "while it is changed", "--nat"),
        ]

        def words(texts: Texts) -> list[str]:
            return ["image", "interactive", image["name"], *options(fields, texts)]

        self.ask(
            f"Change a copy of {image['name']} by hand",
            fields,
            lambda texts: command(words(texts)),
            lambda texts: self.hand_over(words(texts)),
        )

    def open_rename_image(self, image: ImageView) -> None:
        """The form of an image's new name."""
        fields = [self._image_name(image["name"])._replace(title="new name")]
        self.ask(
            f"Rename the image {image['name']}",
            fields,
            lambda texts: command(("image", "rename"), [image["name"], texts["name"]]),
            lambda texts: self.begin(lambda: self.client.rename_image(image["id"], texts["name"])),
        )

    def open_keep(self, vm: VMView) -> None:
        """The form of an image that is made of a stopped VM."""
        fields = [self._image_name(f"{vm['name']}-image")]
        self.ask(
            f"Keep {vm['name']} as an image",
            fields,
            lambda texts: command(("image", "keep"), [vm["name"], texts["name"]]),
            lambda texts: self.begin(lambda: self.client.keep_image(vm["id"], texts["name"])),
        )
