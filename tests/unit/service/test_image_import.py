"""Imports of archives as operations, on the fake host."""

from __future__ import annotations

from pathlib import Path

import pytest

from banger.errors import AlreadyExists, BangerError, InvalidInput, NotFound
from banger.model.operation import Operation, OperationStatus
from banger.service import record
from banger.service.requests import BuildRequest, CreateRequest, ImportRequest
from tests.fakes.boot_files import own_files
from tests.fakes.house import House


@pytest.fixture
async def house(tmp_path: Path) -> House:
    return await House(tmp_path / "house").start()


async def ended(house: House, operation: Operation) -> Operation:
    return await house.operations.wait(operation.id)


async def built(house: House) -> None:
    await ended(house, await house.images.build(BuildRequest()))


def archive(folder: Path, content: str = "layers") -> str:
    path = folder / "box.tar"
    path.write_text(content)
    return str(path)


async def test_import(house: House, tmp_path: Path) -> None:
    await built(house)
    request = ImportRequest("box", archive(tmp_path), 2 << 30)
    done = await ended(house, await house.importing.import_image(request))
    assert done.status is OperationStatus.SUCCEEDED, done.error
    image = house.images.get("box")
    folder = house.context.paths.image(image.id)
    assert (folder / "rootfs.ext4").read_text() == "layers with 6.12.0"
    assert (folder / "vmlinux").read_text() == "vmlinux"
    assert (folder / "initrd.cpio").read_text() == "initrd.cpio"
    assert (image.size_bytes, image.own_boot, image.suite) == (2 << 30, False, "")
    assert (image.origin, image.container) == ("imported from box.tar", {"Env": ["A=b"]})
    assert not house.images.describe(image).drift
    assert record.read_image(house.context.paths.image_record(image.id)) == image
    with pytest.raises(AlreadyExists):
        await house.importing.import_image(request)
    create = CreateRequest(name="web", image="box", memory_mib=64)
    assert (await ended(house, await house.vms.create(create))).error == {}


async def test_a_kernel_of_ones_own(house: House, tmp_path: Path) -> None:
    await built(house)
    own = own_files(tmp_path / "own")
    request = ImportRequest(
        "box", archive(tmp_path), kernel=own.kernel, initrd=own.initrd, modules=own.modules
    )
    done = await ended(house, await house.importing.import_image(request))
    assert done.status is OperationStatus.SUCCEEDED, done.error
    image = house.images.get("box")
    folder = house.context.paths.image(image.id)
    assert (folder / "rootfs.ext4").read_text() == "layers with nothing"
    assert (folder / "vmlinux").read_bytes() == Path(own.kernel).read_bytes()
    assert (folder / "modules").is_dir()
    assert (image.own_boot, image.kernel_version) == (True, "6.9.1-own")


async def test_an_export_needs_no_other_image(house: House, tmp_path: Path) -> None:
    request = ImportRequest("box", archive(tmp_path, "exported " + "1" * 64))
    done = await ended(house, await house.importing.import_image(request))
    assert done.status is OperationStatus.SUCCEEDED, done.error
    changed = ImportRequest("other", archive(tmp_path, "exported " + "2" * 64))
    done = await ended(house, await house.importing.import_image(changed))
    assert done.status is OperationStatus.FAILED
    assert "not the one that was exported" in done.error["cause"]
    with_kernel = ImportRequest("x", request.archive, kernel=own_files(tmp_path / "own").kernel)
    with pytest.raises(InvalidInput, match="brings its own kernel"):
        await house.importing.import_image(with_kernel)


async def test_a_failed_import_leaves_nothing(house: House, tmp_path: Path) -> None:
    await built(house)
    bad = ImportRequest("box", archive(tmp_path, "bad"))
    done = await ended(house, await house.importing.import_image(bad))
    assert done.status is OperationStatus.FAILED
    assert done.error["cause"] == "it is bad"
    assert [image.name for image in house.images.list()] == ["debian"]
    assert len(list(house.context.paths.images.iterdir())) == 1
    assert not list(house.context.paths.scratch.iterdir())
    # The name is free again.
    good = ImportRequest("box", archive(tmp_path))
    done = await ended(house, await house.importing.import_image(good))
    assert done.status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"archive": "/nowhere.tar"}, InvalidInput),
        ({"archive": "relative.tar"}, InvalidInput),
        ({"size_bytes": 4096}, InvalidInput),
        ({"name": "Not A Name"}, InvalidInput),
        ({"initrd": "/dev/null"}, InvalidInput),
        ({"kernel": "/dev/null"}, InvalidInput),
        ({}, NotFound),
    ],
)
async def test_refusals(
    house: House, tmp_path: Path, changes: dict[str, str], error: type[BangerError]
) -> None:
    fields = {"name": "box", "archive": archive(tmp_path), **changes}
    with pytest.raises(error) as caught:
        await house.importing.import_image(ImportRequest(**fields))  # type: ignore[arg-type]
    assert caught.value.cause
    assert caught.value.resolution
    assert house.images.list() == []
