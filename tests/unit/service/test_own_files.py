"""A kernel and initrd of the user's own: which road the identity takes, and what is refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from banger.errors import InvalidInput
from banger.service.requests import BuildRequest, CreateRequest
from tests.fakes.house import House
from tests.requirements import needs

pytestmark = needs("e2fsprogs")


@pytest.fixture
async def house(tmp_path: Path) -> House:
    house = await House(tmp_path / "house").start()
    await house.operations.wait((await house.images.build(BuildRequest())).id)
    return house


@pytest.fixture
def own(tmp_path: Path) -> dict[str, str]:
    """A root file system with something in it, a kernel, and an initrd that is not ours."""
    tree = tmp_path / "tree"
    for name in ("etc", "sbin", "usr"):
        (tree / name).mkdir(parents=True)
    rootfs = tmp_path / "own.ext4"
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-d", tree, rootfs, "16M"], check=True)
    (tmp_path / "vmlinux").write_bytes(b"\x7fELF")
    (tmp_path / "foreign.cpio").write_bytes(b"\x1f\x8b")
    (tmp_path / "modules/kernel").mkdir(parents=True)
    return {
        "rootfs": str(rootfs),
        "kernel": str(tmp_path / "vmlinux"),
        "initrd": str(tmp_path / "foreign.cpio"),
    }


async def started(house: House, **fields: str) -> list[str]:
    """Create and start; what was written into layers, as ``NAME:MODULES``."""
    request = CreateRequest(name="web", memory_mib=64, **fields)  # type: ignore[arg-type]
    await house.operations.wait((await house.vms.create(request)).id)
    operation = await house.power.start("web", wait=True, timeout=5)
    await house.operations.wait(operation.id)
    folder = house.world.root / "layers"
    return [f"{path.name}:{path.read_text()}" for path in folder.iterdir()]


async def test_a_foreign_initrd_takes_the_layer(house: House, own: dict[str, str]) -> None:
    assert await started(house, **own) == ["web:"]
    assert house.vms.get("web").spec.profile == "standard"


async def test_no_initrd_takes_the_layer(house: House, own: dict[str, str]) -> None:
    del own["initrd"]
    assert await started(house, **own) == ["web:"]


async def test_modules_take_the_layer(house: House, own: dict[str, str], tmp_path: Path) -> None:
    modules = str(tmp_path / "modules")
    assert await started(house, **own, modules=modules) == [f"web:{modules}"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"modules": "/nonexistent"}, "no modules"),
        ({"storage": "qcow2"}, "qcow2"),
        ({"kernel": "", "initrd": "", "modules": "/"}, "no kernel of your own"),
    ],
)
async def test_refusals(
    house: House, own: dict[str, str], change: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await house.vms.create(CreateRequest(memory_mib=64, **{**own, **change}))  # type: ignore[arg-type]
    assert words in f"{caught.value.brief} {caught.value.cause}"
    assert house.vms.list() == []


async def test_a_root_that_is_cut_short(house: House, own: dict[str, str]) -> None:
    os.truncate(own["rootfs"], 1 << 20)
    with pytest.raises(InvalidInput) as caught:
        await house.vms.create(CreateRequest(memory_mib=64, **own))  # type: ignore[arg-type]
    assert "cut short" in caught.value.cause
