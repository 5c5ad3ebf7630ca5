"""What a customised image is made of, by what its base has and what is wanted."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from banger.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from banger.model.image import Customization, Image
from banger.model.operation import OperationStatus
from banger.service.customizing import default_name
from banger.service.requests import BuildRequest, CustomizeRequest
from tests.fakes.boot_files import own_files
from tests.fakes.house import House
from tests.requirements import needs

GIB = 1 << 30


@pytest.fixture
async def house(tmp_path: Path) -> House:
    house = await House(tmp_path / "house").start()
    await house.operations.wait((await house.images.build(BuildRequest())).id)
    return house


async def customized(house: House, request: CustomizeRequest) -> tuple[Image, Customization]:
    operation = await house.customizing.customize(request)
    ended = await house.operations.wait(operation.id)
    assert ended.status is OperationStatus.SUCCEEDED, ended.error
    builder = house.context.drivers.builder
    wanted: Customization = builder.customized[-1]  # type: ignore[attr-defined]  # the fake's
    return house.images.get(str(ended.result["name"])), wanted


def folder_of(house: House, name: str) -> Path:
    return house.context.paths.image(house.images.get(name).id)


async def test_an_image_with_docker(house: House) -> None:
    image, wanted = await customized(house, CustomizeRequest("debian", docker=True))
    base = folder_of(house, "debian")
    assert (image.name, image.docker, image.own_boot) == ("docker-debian", True, False)
    assert image.origin == "customised from debian"
    assert image.suite == "bookworm"
    assert not house.images.describe(image).drift
    assert wanted == Customization(
        name="docker-debian",
        rootfs=str(base / "rootfs.ext4"),
        size_bytes=8 * GIB,
        kernel=str(base / "vmlinux"),
        initrd=str(base / "initrd.cpio"),
        suite="bookworm",
        docker=True,
    )
    # What is made of it has Docker as well.
    larger, _ = await customized(house, CustomizeRequest("docker-debian", "more", 16 * GIB))
    assert (larger.docker, larger.size_bytes) == (True, 16 * GIB)


async def test_what_an_import_knew_of_its_image_stays(house: House) -> None:
    base = house.images.get("debian")
    known = dataclasses.replace(base, carries_agent=True, container={"Cmd": ["sh"]})
    house.context.images.put(known)
    image, _ = await customized(house, CustomizeRequest("debian", docker=True))
    assert (image.carries_agent, image.container) == (True, {"Cmd": ["sh"]})


async def test_packages(house: House) -> None:
    request = CustomizeRequest("debian", "work", packages="# mine\ngit\ntree\n")
    image, wanted = await customized(house, request)
    assert (wanted.packages, wanted.docker, image.docker) == (("git", "tree"), False, False)
    with pytest.raises(InvalidInput):
        await house.customizing.customize(CustomizeRequest("debian", "other", packages="-x\n"))


async def test_another_kernel_gets_an_initrd_of_ours(house: House, tmp_path: Path) -> None:
    files = own_files(tmp_path / "own")
    request = CustomizeRequest("debian", "own", kernel=files.kernel, modules=files.modules)
    image, wanted = await customized(house, request)
    assert (wanted.kernel, wanted.modules) == (files.kernel, files.modules)
    assert (wanted.initrd, wanted.ours, image.own_boot) == ("", True, False)
    foreign = CustomizeRequest("debian", "two", kernel=files.kernel, initrd=files.initrd)
    image, wanted = await customized(house, foreign)
    assert (wanted.initrd, wanted.ours, image.own_boot) == (files.initrd, False, True)


async def test_a_registered_image_keeps_its_boot_files(house: House, tmp_path: Path) -> None:
    operation = await house.own_images.register("own", own_files(tmp_path / "own"))
    await house.operations.wait(operation.id)
    image, wanted = await customized(house, CustomizeRequest("own", size_bytes=2 * GIB))
    base = folder_of(house, "own")
    assert (image.name, image.own_boot) == ("docker-own", True)
    assert wanted.kernel == str(base / "vmlinux")
    assert (wanted.initrd, wanted.ours) == (str(base / "initrd.cpio"), False)
    assert wanted.modules == str(base / "modules")


def disk(folder: Path) -> Path:
    tree, path = folder / "tree", folder / "My disk.ext4"
    (tree / "etc").mkdir(parents=True)
    argv = ["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(path), "16M"]
    subprocess.run(argv, check=True)
    return path


@needs("e2fsprogs")
async def test_a_file_boots_the_default_images_kernel(house: House, tmp_path: Path) -> None:
    path = disk(tmp_path)
    image, wanted = await customized(house, CustomizeRequest(str(path), "own"))
    base = folder_of(house, "debian")
    assert (wanted.kernel, wanted.initrd) == (str(base / "vmlinux"), str(base / "initrd.cpio"))
    assert (wanted.modules_of, wanted.suite) == (str(base / "rootfs.ext4"), "")
    assert (wanted.size_bytes, image.own_boot) == (GIB, False)
    files = own_files(tmp_path / "files")
    with_kernel = CustomizeRequest(str(path), "two", kernel=files.kernel, modules=files.modules)
    image, wanted = await customized(house, with_kernel)
    assert (wanted.kernel, wanted.modules_of, wanted.ours) == (files.kernel, "", True)


@pytest.mark.parametrize(
    ("request_", "error", "said"),
    [
        (CustomizeRequest("nosuch"), NotFound, "nosuch"),
        (CustomizeRequest("debian"), InvalidInput, "nothing is to be customised"),
        (CustomizeRequest("debian", "debian", docker=True), AlreadyExists, "exists already"),
        (CustomizeRequest("debian", "BAD", docker=True), InvalidInput, "BAD"),
        (CustomizeRequest("debian", size_bytes=1024), InvalidInput, "out of range"),
        (CustomizeRequest("/nosuch", "x"), InvalidInput, "/nosuch"),
        (CustomizeRequest("debian", kernel="/nosuch"), InvalidInput, "/nosuch"),
        (CustomizeRequest("debian", modules="/nosuch"), InvalidInput, "modules"),
        (CustomizeRequest("debian", packages="\n"), InvalidInput, "empty"),
    ],
    ids=lambda value: value.base if isinstance(value, CustomizeRequest) else "",
)
async def test_what_cannot_be_is_refused(
    house: House, request_: CustomizeRequest, error: type[Exception], said: str
) -> None:
    before = house.images.list()
    with pytest.raises(error, match=said):
        await house.customizing.customize(request_)
    assert house.images.list() == before


async def test_the_base_stays_while_it_is_used(house: House) -> None:
    operation = await house.customizing.customize(CustomizeRequest("debian", docker=True))
    with pytest.raises(Conflict):
        await house.images.delete("debian")
    await house.operations.wait(operation.id)
    await house.operations.wait((await house.images.delete("debian")).id)
    assert [image.name for image in house.images.list()] == ["docker-debian"]


def test_default_names() -> None:
    assert default_name("debian") == "docker-debian"
    assert default_name("/srv/Disk.v2.ext4") == "docker-disk"
    with pytest.raises(InvalidInput, match="needs a name"):
        default_name("/srv/my disk.ext4")
