"""Bad input and a full disk: three lines, the documented status, and nothing changed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.plugins.built_image import BuiltImage
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = needs("qemu", "image", "ssh")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("run", "--name", "Bad"), 2, "Bad"),
        (("run", "--name", "a" * 65), 2, "1 to 64"),
        (("run", "--vcpu", "0"), 2, "1 to 16"),
        (("run", "--vcpu", "17"), 2, "1 to 16"),
        (("run", "--vcpu", "two"), 2, "two"),
        (("run", "--memory", "63"), 2, "64"),
        (("run", "--memory", "33G"), 2, "32768"),
        (("run", "--memory", "lots"), 2, "lots"),
        (("run", "--overlay-size", "1M"), 2, "64 MiB"),
        (("run", "--disk-size", "3T"), 2, "2 TiB"),
        (("run", "--rootfs", "/nonexistent"), 2, "/nonexistent"),
        (("run", "--rootfs", "/etc/passwd"), 2, "/etc/passwd"),
        (("run", "--image", "nope"), 4, "nope"),
        (("run", "--network", "bridge"), 2, "bridge"),
        (("run", "--profile", "slow"), 2, "slow"),
        (("start", "nope"), 4, "nope"),
        (("stop", "nope"), 4, "nope"),
        (("rm", "nope"), 4, "nope"),
        (("show", "nope"), 4, "nope"),
        (("exec", "nope", "--", "true"), 125, "nope"),
        (("ssh", "nope"), 125, "nope"),
        (("image", "delete", "nope"), 4, "nope"),
        (("operation", "show", "nope"), 4, "nope"),
        (("vm", "list", "--no-such-option"), 2, "--no-such-option"),
        (("no-such-command",), 2, "no-such-command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_is_refused(
    booted: Home, arguments: tuple[str, ...], status: int, words: str
) -> None:
    before = booted.json("ls")
    result = booted(*arguments)
    assert result.status == status, result
    lines = result.stderr.splitlines()
    assert lines[0].startswith("error: "), result.stderr
    assert any(line.startswith("  try:") for line in lines), result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    after = booted.json("ls")
    assert [vm["id"] for vm in after] == [vm["id"] for vm in before]


def test_a_name_taken(booted: Home) -> None:
    result = booted("run", "--name", "web")
    assert result.status == 5
    assert "exists already" in result.stderr


def test_a_running_vm_is_not_deleted_without_force(booted: Home) -> None:
    result = booted("rm", "web")
    assert result.status == 5
    assert "banger stop web" in result.stderr
    assert booted.json("ls")[0]["state"] == "running"


def test_a_text_file_as_kernel(
    banger_with_image: Home, tmp_path: Path, leaves_nothing: Callable[[], None]
) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_text("this boots nothing\n" * 100)
    image = next(banger_with_image.paths.images.iterdir())
    result = banger_with_image(
        "run", "--rootfs", str(image / "rootfs.ext4"), "--kernel", str(kernel)
    )
    assert result.status == 2, result
    assert str(kernel) in result.stderr
    assert banger_with_image.json("ls") == []


def test_a_kernel_that_does_not_boot_shows_why(
    banger_with_image: Home, tmp_path: Path, leaves_nothing: Callable[[], None]
) -> None:
    """An ELF header with nothing behind it passes the check of the magic number.

    The VM stays, failed: its console and the VMM's words can be read.
    """
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"\x7fELF" + bytes(4096))
    image = next(banger_with_image.paths.images.iterdir())
    result = banger_with_image(
        "run", "--name", "web", "--rootfs", str(image / "rootfs.ext4"), "--kernel", str(kernel)
    )
    assert result.status not in (0, 70), result
    assert result.stderr.count("error: ") == 1
    assert "Traceback" not in result.stderr
    [vm] = banger_with_image.json("ls")
    assert vm["state"] == "failed"
    assert vm["problem"]["brief"] in result.stderr
    banger_with_image.ok("rm", "web")


@pytest.fixture
def full_home(built_image: Path) -> Iterator[Home]:
    """A home on a tmpfs with just enough room for the image, and hardly any more."""
    root = Path("/tmp/bgr-full")  # the path of a socket must stay short
    root.mkdir(mode=0o700)
    used = sum(path.stat().st_blocks * 512 for path in built_image.iterdir())
    size = used + 48 * 1024 * 1024
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "bgr", root], check=True)
    home = Home(root)
    try:
        BuiltImage(built_image).give_to(home.paths)
        yield home
    finally:
        home.clear()
        subprocess.run(["umount", root], check=True)
        root.rmdir()


@needs("root")
def test_a_full_disk_is_told_before_anything_is_made(full_home: Home) -> None:
    result = full_home("run", "--name", "web")
    assert result.status == 9, result
    lines = result.stderr.splitlines()
    assert "disk space" in lines[0], result.stderr
    assert "MiB" in result.stderr
    assert full_home.json("ls") == []
    # With the floor lowered there is room, and it works.
    full_home.ok("daemon", "stop")
    full_home.ok("create", "--name", "web", BANGER_MIN_FREE_BYTES="1M")
    full_home.ok("rm", "web")
