"""Files get into a real ext4 file system without a mount, and the untrusted part leads nowhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from banger.errors import BangerError, CorruptState, HostNotReady
from banger.host.ext_files import ExtFiles, NewFile, complaint, memory_file
from tests.requirements import needs

pytestmark = needs("e2fsprogs")
MIB = 1024 * 1024


def debugfs(image: Path, *lines: str) -> str:
    """Change or read the file system as a guest might have left it."""
    done = subprocess.run(
        ["/usr/sbin/debugfs", "-w", "-f", "-", image],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "root.raw"
    path.touch(mode=0o600)
    os.truncate(path, 16 * MIB)
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", path], check=True)
    return path


@pytest.fixture
def layer(image: Path) -> ExtFiles:
    # As root, the programs run as nobody and the folders above are closed to them.
    nobody = (65534, 65534) if os.geteuid() == 0 else None
    return ExtFiles(image, ".banger", image.with_name("changing"), nobody)


async def put(layer: ExtFiles, name: str, content: bytes, mode: int = 0o600) -> None:
    descriptor = await memory_file(name, content)
    try:
        await layer.write([NewFile(name, descriptor, mode)])
    finally:
        os.close(descriptor)


async def test_what_is_written_is_there_with_its_permissions(layer: ExtFiles) -> None:
    await layer.repair()
    await put(layer, "identity", b"one")
    await put(layer, "identity", b"two" * 5000)
    assert await layer.read("identity") == b"two" * 5000
    assert await layer.read("nothing") == b""
    facts = debugfs(layer.device, "stat /.banger/identity", "stat /.banger")
    assert "Mode:  0600" in facts
    assert "Mode:  0700" in facts
    assert facts.count("User:     0   Group:     0") == 2
    subprocess.run(["/usr/sbin/e2fsck", "-f", "-n", layer.device], check=True)
    # The layer is the daemon's again, and nothing says that a change was cut off.
    assert layer.device.stat().st_uid == os.geteuid()
    assert not layer.journal.exists()


async def test_a_full_file_system_is_said_and_left_as_it_was(layer: ExtFiles) -> None:
    await put(layer, "identity", b"one")
    with pytest.raises(HostNotReady, match="is full") as caught:
        await put(layer, "modules.tar", os.urandom(20 * MIB))
    assert "debugfs: " in caught.value.cause
    assert caught.value.resolution
    await layer.repair()
    subprocess.run(["/usr/sbin/e2fsck", "-f", "-n", layer.device], check=True)
    assert await layer.read("modules.tar") == b""
    await put(layer, "identity", b"three")
    assert await layer.read("identity") == b"three"


@pytest.mark.parametrize("target", ["/", "/etc", "/tmp", "/proc/self/cwd"])
async def test_links_of_the_guest_lead_to_nothing(
    layer: ExtFiles, target: str, tmp_path: Path
) -> None:
    debugfs(layer.device, f"symlink /.banger {target}", "mkdir /etc")
    before = debugfs(layer.device, "ls -l /", "ls -l /etc")
    there = sorted(Path("/etc").iterdir()), sorted(tmp_path.iterdir())
    with pytest.raises(CorruptState, match="cannot be written to"):
        await put(layer, "init", b"evil")
    assert debugfs(layer.device, "ls -l /", "ls -l /etc") == before
    layer.journal.unlink()
    assert (sorted(Path("/etc").iterdir()), sorted(tmp_path.iterdir())) == (
        there[0],
        [path for path in there[1] if path != layer.journal],
    )


async def test_a_file_that_is_a_link_is_replaced_and_not_followed(layer: ExtFiles) -> None:
    debugfs(layer.device, "mkdir /.banger", "mkdir /etc", "cd /.banger", "symlink init /etc/passwd")
    await put(layer, "init", b"ours")
    assert "Type: regular" in debugfs(layer.device, "stat /.banger/init")
    assert "File not found" in complaint_of(layer.device, "stat /etc/passwd")


def complaint_of(image: Path, line: str) -> str:
    done = subprocess.run(
        ["/usr/sbin/debugfs", "-R", line, image], capture_output=True, text=True, check=True
    )
    return complaint(done.stderr)


async def test_what_is_no_file_system(layer: ExtFiles) -> None:
    layer.device.write_bytes(bytes(MIB))
    for action in (layer.repair(), put(layer, "identity", b"one")):
        with pytest.raises(BangerError) as caught:
            await action
        assert caught.value.cause


async def test_a_layer_that_is_a_link_or_gone(layer: ExtFiles, tmp_path: Path) -> None:
    layer.device.rename(tmp_path / "elsewhere")
    with pytest.raises(CorruptState, match="cannot be opened"):
        await layer.repair()
    layer.device.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptState, match="cannot be opened"):
        await layer.repair()


async def test_a_change_that_was_cut_off_is_checked_first(layer: ExtFiles) -> None:
    await put(layer, "identity", b"one")
    # A block in use that the bitmap says is free: only a full check sees it.
    debugfs(layer.device, "freeb 1000 50", "clri /lost+found")
    await layer.repair()
    assert subprocess.run(["/usr/sbin/e2fsck", "-fn", layer.device], check=False).returncode
    layer.journal.touch()
    try:
        await layer.repair()
    except CorruptState as error:
        assert "e2fsck" in error.cause  # noqa: PT017 - either is right
    else:
        subprocess.run(["/usr/sbin/e2fsck", "-fn", layer.device], check=True)
