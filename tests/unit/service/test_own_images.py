"""Images made of files and of VMs, their names, and what can be thrown away."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from msgspec import structs

from banger.errors import AlreadyExists, BangerError, Conflict, InvalidInput, NotFound
from banger.model.image import Image, ImageState
from banger.model.operation import Operation, OperationStatus
from banger.service import record
from banger.service.requests import BuildRequest, CreateRequest
from tests.fakes.boot_files import own_files
from tests.fakes.house import House


@pytest.fixture
async def house(tmp_path: Path) -> House:
    house = await House(tmp_path / "house").start()
    await ok(house, await house.images.build(BuildRequest()))
    return house


async def ok(house: House, operation: Operation) -> Operation:
    ended = await house.operations.wait(operation.id)
    assert ended.status is OperationStatus.SUCCEEDED, ended.error
    return ended


async def registered(house: House, folder: Path) -> Image:
    await ok(house, await house.own_images.register("own", own_files(folder)))
    return house.images.get("own")


async def test_register(house: House, tmp_path: Path) -> None:
    files = own_files(tmp_path / "own")
    image = await registered(house, tmp_path / "own")
    folder = house.context.paths.image(image.id)
    assert (folder / "rootfs.ext4").read_bytes() == Path(files.rootfs).read_bytes()
    assert (folder / "vmlinux").read_bytes() == Path(files.kernel).read_bytes()
    assert (folder / "initrd.cpio").read_bytes() == Path(files.initrd).read_bytes()
    assert (folder / "modules/kernel").is_dir()
    assert (image.size_bytes, image.allocated_bytes) == (4 << 20, 4096)
    assert (image.kernel_version, image.rootfs_sha256) == ("6.9.1-own", "1" * 64)
    assert (image.own_boot, image.origin) == (True, f"registered from {files.rootfs}")
    assert not house.images.describe(image).drift
    assert record.read_image(house.context.paths.image_record(image.id)) == image


async def test_a_vm_boots_the_files_of_its_image(house: House, tmp_path: Path) -> None:
    """Those are not banger's, so what the VM must know goes into its own layer."""
    image = await registered(house, tmp_path / "own")
    folder = house.context.paths.image(image.id)
    request = CreateRequest(name="web", image="own", memory_mib=64)
    await ok(house, await house.vms.create(request))
    spec = house.vms.get("web").spec
    assert (spec.kernel, spec.initrd) == (str(folder / "vmlinux"), str(folder / "initrd.cpio"))
    assert (spec.modules, spec.profile, spec.rootfs) == (str(folder / "modules"), "standard", "")
    with pytest.raises(Conflict, match="own"):
        await house.images.delete("own")
    await ok(house, await house.change.rebuild("web", "debian"))
    spec = house.vms.get("web").spec
    assert (spec.kernel, spec.initrd, spec.modules) == ("", "", "")
    await ok(house, await house.change.rebuild("web", "own"))
    assert house.vms.get("web").spec.kernel == str(folder / "vmlinux")


async def test_a_root_of_ones_own_with_the_kernel_of_such_an_image(
    house: House, tmp_path: Path
) -> None:
    image = await registered(house, tmp_path / "own")
    rootfs = own_files(tmp_path / "own").rootfs
    request = CreateRequest(name="web", image="own", rootfs=rootfs, memory_mib=64)
    await ok(house, await house.vms.create(request))
    spec = house.vms.get("web").spec
    assert spec.rootfs == rootfs
    assert spec.kernel == str(house.context.paths.image(image.id) / "vmlinux")


async def test_a_qcow2_drive_cannot_be_rebuilt_from_it(house: House, tmp_path: Path) -> None:
    await registered(house, tmp_path / "own")
    await ok(house, await house.vms.create(CreateRequest(name="web", memory_mib=64)))
    vm = house.vms.get("web")
    stores = house.context.drivers.stores
    stores["qcow2"] = stores["fake"]  # type: ignore[index]  # the fake's own dictionary
    house.context.change_vm(vm, spec=dataclasses.replace(vm.spec, storage="qcow2"))
    with pytest.raises(InvalidInput, match="cannot be rebuilt"):
        await house.change.rebuild("web", "own")
    assert house.vms.get("web").spec.image_name == "debian"


@pytest.mark.parametrize("broken", ["rootfs", "kernel", "initrd", "modules"])
async def test_bad_files_are_refused(house: House, tmp_path: Path, broken: str) -> None:
    files = own_files(tmp_path / "own")
    (tmp_path / "text").write_text("no such thing " * 100)
    files = structs.replace(files, **{broken: str(tmp_path / "text")})
    with pytest.raises(InvalidInput):
        await house.own_images.register("own", files)
    files = structs.replace(own_files(tmp_path / "own"), **{broken: "relative"})
    with pytest.raises(InvalidInput):
        await house.own_images.register("own", files)
    assert [image.name for image in house.images.list()] == ["debian"]
    assert house.context.resources.held("image-build") == set()


@pytest.mark.parametrize("missing", ["rootfs", "kernel"])
async def test_missing_files_are_refused(house: House, tmp_path: Path, missing: str) -> None:
    files = structs.replace(own_files(tmp_path / "own"), **{missing: ""})
    with pytest.raises(InvalidInput, match="lacks its"):
        await house.own_images.register("own", files)


async def test_a_file_that_vanishes_leaves_nothing(house: House, tmp_path: Path) -> None:
    files = own_files(tmp_path / "own")
    operation = await house.own_images.register("own", files)
    Path(files.kernel).unlink()
    ended = await house.operations.wait(operation.id)
    assert ended.status is OperationStatus.FAILED
    assert [image.name for image in house.images.list()] == ["debian"]
    assert len(list(house.context.paths.images.iterdir())) == 1
    assert not list(house.context.paths.scratch.iterdir())


async def test_names_are_taken_once(house: House, tmp_path: Path) -> None:
    files = own_files(tmp_path / "own")
    for name, error in (("debian", AlreadyExists), ("Not-A-Name", InvalidInput)):
        with pytest.raises(error):
            await house.own_images.register(name, files)
        with pytest.raises(error):
            await house.images.rename("debian", name)
    first = await house.own_images.register("own", files, "key")
    assert (await house.own_images.register("own", files, "key")).id == first.id
    for again in (house.own_images.register("own", files), house.images.rename("debian", "own")):
        with pytest.raises(Conflict, match="being made"):
            await again
    await ok(house, first)


async def test_keep(house: House) -> None:
    await ok(house, await house.vms.create(CreateRequest(name="web", memory_mib=64)))
    await ok(house, await house.own_images.keep("web", "kept"))
    image, base = house.images.get("kept"), house.images.get("debian")
    folder = house.context.paths.image(image.id)
    assert (folder / "rootfs.ext4").read_text() == "rootfs.ext4 and "
    assert (folder / "initrd.cpio").read_text() == "initrd.cpio"
    assert (image.suite, image.packages_sha256, image.own_boot) == (base.suite, "", False)
    assert image.origin == "kept from a VM of debian"
    await ok(house, await house.vms.create(CreateRequest(name="db", image="kept", memory_mib=64)))
    await ok(house, await house.power.start("db", wait=True, timeout=5))
    with pytest.raises(Conflict, match="cannot make an image of db"):
        await house.own_images.keep("db", "more")
    with pytest.raises(NotFound):
        await house.own_images.keep("nothing", "more")


async def test_keep_takes_the_identity_out(house: House, tmp_path: Path) -> None:
    """Where there is a file system; and the boot files of a VM with its own go along."""
    files = own_files(tmp_path / "own")
    request = structs.replace(files, name="web", memory_mib=64)
    await ok(house, await house.vms.create(request))

    class Ext:
        name, grows_live, breaks_when_full = "fake", False, False

        async def flatten(self, spec: object, target: Path) -> None:
            target.write_bytes(Path(files.rootfs).read_bytes())

    stores = house.context.drivers.stores
    stores["fake"] = Ext()  # type: ignore[index]  # the fake's own dictionary
    forgotten = []

    async def forget(target: object) -> None:
        forgotten.append(target)

    house.context.drivers.guest.forget_identity = forget  # type: ignore[method-assign]
    await ok(house, await house.own_images.keep("web", "kept"))
    image = house.images.get("kept")
    folder = house.context.paths.image(image.id)
    assert [each.base for each in forgotten] == [Path(files.rootfs)]  # type: ignore[attr-defined]
    assert image.own_boot
    assert (folder / "modules/kernel").is_dir()
    assert (folder / "initrd.cpio").read_bytes() == Path(files.initrd).read_bytes()


async def test_rename_follows_into_the_vms(house: House) -> None:
    await ok(house, await house.vms.create(CreateRequest(name="web", memory_mib=64)))
    await ok(house, await house.power.start("web", wait=True, timeout=5))
    await ok(house, await house.images.rename("debian", "base"))
    vm, image = house.vms.get("web"), house.images.get("base")
    assert (vm.spec.image_name, vm.spec.image_id) == ("base", image.id)
    written = record.read_vm(house.context.paths.vm_record(vm.id))
    assert written is not None
    assert written.spec.image_name == "base"
    with pytest.raises(NotFound):
        house.images.get("debian")
    await ok(house, await house.images.build(BuildRequest()))  # the old name is free again


async def test_prune(house: House, tmp_path: Path) -> None:
    paths = house.context.paths
    await registered(house, tmp_path / "own")
    await ok(house, await house.vms.create(CreateRequest(name="web", memory_mib=64)))
    await ok(house, await house.own_images.keep("web", "kept"))
    await ok(house, await house.vms.create(CreateRequest(name="db", image="kept", memory_mib=64)))
    for folder in (paths.images / "dead", paths.scratch / "dead"):
        folder.mkdir()
        (folder / "part").write_bytes(bytes(8192))
    lost = house.context.images.get(house.images.get("own").id)
    assert lost is not None
    (paths.images / lost.id).rename(paths.images / "renamed")  # read as an image at the next start
    (paths.debs / "x.deb").write_bytes(bytes(4096))
    found = await house.pruning.prunable()
    assert [(each.kind, each.name) for each in found] == [
        ("image", "own"), ("remains", "dead"), ("remains", "dead"), ("cache", "downloaded packages")
    ]  # fmt: skip
    assert found[1].bytes >= 8192
    gone = await house.pruning.prune()
    assert [each.path for each in gone] == [each.path for each in found[1:]]
    assert (paths.images / "renamed").is_dir()
    assert [each.kind for each in await house.pruning.prunable()] == ["image"]
    assert await house.pruning.prune() == []


async def test_prune_spares_what_is_being_made(house: House, tmp_path: Path) -> None:
    paths = house.context.paths
    (paths.debs / "x.deb").write_bytes(bytes(4096))
    operation = await house.own_images.register("own", own_files(tmp_path / "own"))
    assert await house.pruning.prunable() == []
    await ok(house, operation)
    image = house.images.get("own")
    house.context.images.put(dataclasses.replace(image, state=ImageState.DELETING))
    assert "own" in [each.name for each in await house.pruning.prunable()]


async def test_an_interrupted_deletion_is_no_image(house: House, tmp_path: Path) -> None:
    image = await registered(house, tmp_path / "own")
    house.context.images.put(dataclasses.replace(image, state=ImageState.DELETING))
    for refused in (house.images.rename("own", "other"),):
        with pytest.raises(BangerError, match="cannot be used"):
            await refused
