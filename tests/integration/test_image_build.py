"""Real builds: what is in an image, that it comes out the same again, and what failures leave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from banger.drivers.guest.initrd import build_initrd
from banger.drivers.image import rootfs, workspace
from banger.drivers.image.base import BuildFolders, BuiltImage
from banger.drivers.image.builder import DebianBuilder
from banger.drivers.image.digest import content_sha256
from banger.drivers.image.kernel import check_vmlinux
from banger.errors import Cancelled, HostNotReady, InvalidInput
from banger.host.files import allocated_bytes
from banger.model.image import ImageSpec
from tests.plugins.built_image import cache
from tests.requirements import needs

MIB = 1024 * 1024
ENVIRONMENT = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
#: Only what every image gets: half a minute with the packages at hand.
SPEC = ImageSpec("small", "bookworm", (), "0" * 64, 1024 * MIB)
#: Builds SPEC in the folder of the first argument; run in a process of its own.
SCRIPT = "import sys; from tests.integration import test_image_build as t; t.build_in(sys.argv[1])"

pytestmark = needs("image")


def folders_in(top: Path, debs: Path | None = None) -> BuildFolders:
    made = BuildFolders(
        target=top / "target",
        scratch=top / "scratch",
        debs=debs or cache() / "packages/banger/debs",
        log=top / "log",
    )
    for folder in (made.target, made.scratch, made.debs):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return made


def build(folders: BuildFolders, spec: ImageSpec = SPEC) -> BuiltImage:
    async def run() -> BuiltImage:
        return await DebianBuilder(build_initrd).build(spec, folders, lambda *_: None)

    return asyncio.run(run())


def build_in(top: str) -> None:
    """What SCRIPT runs."""
    print(build(folders_in(Path(top), Path(top) / "debs")).rootfs_sha256)


def debugfs(image: Path, request: str) -> str:
    argv = ["debugfs", "-R", request, str(image)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    return done.stdout


def names_in(image: Path, folder: str) -> set[str]:
    rows = [row.split("/") for row in debugfs(image, f"ls -p {folder}").splitlines() if row]
    return {row[5] for row in rows if len(row) > 5} - {".", ".."}


def left_on_host(folders: BuildFolders) -> list[str]:
    mark = workspace.mark(folders.scratch)
    places = [Path("/dev/shm"), Path("/var/tmp"), folders.scratch]
    found = [str(place / mark) for place in places if (place / mark).exists()]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return found + [line for line in mounts if mark in line]


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder that other users may pass through, as pytest's own may not be."""
    top = Path(tempfile.mkdtemp(prefix="bgr-image-"))
    top.chmod(0o755)
    yield top
    shutil.rmtree(top)


# What is in the image that all tests share


def test_the_three_files(built_image: Path) -> None:
    image = built_image / "rootfs.ext4"
    assert image.stat().st_size == 8 * 1024 * MIB
    assert allocated_bytes(image) < 350 * MIB
    check_vmlinux((built_image / "vmlinux").read_bytes())
    assert (built_image / "initrd.cpio").read_bytes().startswith(b"070701")


def test_the_file_system_is_without_fault(built_image: Path) -> None:
    argv = ["e2fsck", "-f", "-n", str(built_image / "rootfs.ext4")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout


def test_nothing_in_it_belongs_to_one_machine(built_image: Path) -> None:
    image = built_image / "rootfs.ext4"
    assert debugfs(image, "cat /etc/machine-id") == ""
    assert debugfs(image, "cat /etc/resolv.conf") == ""
    assert debugfs(image, "cat /etc/hostname") == "localhost\n"
    assert not [name for name in names_in(image, "/etc/ssh") if name.startswith("ssh_host_")]
    assert names_in(image, "/var/lib/apt/lists") <= {"lock", "auxfiles"}
    assert names_in(image, "/var/cache/apt/archives") <= {"lock"}
    assert "Proxy" not in debugfs(image, "cat /etc/apt/apt.conf.d/90banger")
    assert not {"banger-boot", "banger-debs"} & names_in(image, "/")


def test_it_can_boot_and_let_its_user_in(built_image: Path) -> None:
    image = built_image / "rootfs.ext4"
    versions = names_in(image, "/usr/lib/modules")
    assert len(versions) == 1
    tree = f"/usr/lib/modules/{versions.pop()}"
    assert {"modules.dep.bin", "modules.alias.bin", "kernel"} <= names_in(image, tree)
    for module in ("overlay", "bridge", "veth", "nf_tables", "wireguard", "loop", "tun"):
        assert f"/{module}.ko" in debugfs(image, f"cat {tree}/modules.dep")
    assert "Type: symlink" in debugfs(image, "stat /sbin/init")
    assert "\nroot:*:" in "\n" + debugfs(image, "cat /etc/shadow")
    assert "PasswordAuthentication no" in debugfs(
        image, "cat /etc/ssh/sshd_config.d/10-banger.conf"
    )


def test_documentation_is_trimmed_and_licences_stay(built_image: Path) -> None:
    image = built_image / "rootfs.ext4"
    assert {"copyright"} <= names_in(image, "/usr/share/doc/git") <= {"copyright", "contrib"}
    assert "git.1.gz" not in names_in(image, "/usr/share/man/man1")
    assert "man1" in names_in(image, "/usr/share/man")


# Builds


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuiltImage]:
    """SPEC, built in memory where there is room."""
    folders = folders_in(tmp_path_factory.mktemp("small"))
    built = build(folders)
    assert not left_on_host(folders)
    return folders.target, built


@pytest.mark.slow
def test_built_again_on_disk_it_is_the_same_to_the_bit(
    small: tuple[Path, BuiltImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk's folders have another order, and let other users less far."""
    first, expected = small
    monkeypatch.setattr(workspace, "_MEMORY", tmp_path / "none")
    folders = folders_in(tmp_path)
    assert build(folders) == expected
    for name in ("rootfs.ext4", "vmlinux", "initrd.cpio"):
        assert content_sha256(folders.target / name) == content_sha256(first / name), name
    assert not left_on_host(folders)


@contextlib.contextmanager
def user_with_home(home: Path) -> Iterator[str]:
    name = f"bgrt{os.getpid() % 100000}"
    subprocess.run(["useradd", "--home-dir", str(home), name], check=True, env=ENVIRONMENT)
    try:
        yield name
    finally:
        subprocess.run(["userdel", name], check=True, env=ENVIRONMENT)


@pytest.mark.slow
@needs("root", "userns")
def test_an_ordinary_user_builds_the_same_image(
    small: tuple[Path, BuiltImage], short: Path
) -> None:
    if shutil.which("newuidmap") is None:
        pytest.skip("newuidmap is not installed (Debian package uidmap)")
    with user_with_home(short / "home") as user:
        account = pwd.getpwnam(user)
        debs = short / "home" / "debs"
        shutil.copytree(cache() / "packages/banger/debs", debs)
        subprocess.run(["chown", "-R", f"{user}:", str(short / "home")], check=True)
        environment = {**ENVIRONMENT, "HOME": str(short / "home")}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        run = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"]
        run += ["--clear-groups", "--inh-caps=-all", sys.executable, "-B", "-c"]
        probe = subprocess.run(
            [*run, "import tests"], capture_output=True, check=False, env=environment, cwd="/"
        )
        if probe.returncode:
            pytest.skip("another user cannot read the source or the Python of these tests")
        done = subprocess.run(
            [*run, SCRIPT, str(short / "home")],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == small[1].rootfs_sha256
        made = (short / "home/target/rootfs.ext4").stat()
        assert (made.st_uid, made.st_mode & 0o777) == (account.pw_uid, 0o444)


@pytest.mark.slow
def test_a_killed_build_is_cleaned_by_the_next_daemon(tmp_path: Path) -> None:
    folders = folders_in(tmp_path, tmp_path / "debs")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while "Unpacking libc6" not in _text(folders.log):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    asyncio.run(DebianBuilder(build_initrd).clean(folders))
    assert not left_on_host(folders)
    assert not folders.target.exists()
    assert not folders.scratch.exists()
    # A second time there is nothing left to do, and that is fine.
    asyncio.run(DebianBuilder(build_initrd).clean(folders))


@pytest.mark.slow
async def test_a_cancelled_build_leaves_nothing_running(tmp_path: Path) -> None:
    folders = folders_in(tmp_path, tmp_path / "debs")
    started = asyncio.Event()

    def progress(phase: str, fraction: float | None, detail: str) -> None:
        if phase == "unpack":
            started.set()

    task = asyncio.create_task(DebianBuilder(build_initrd).build(SPEC, folders, progress))
    async with asyncio.timeout(60):
        await started.wait()
    task.cancel()
    with pytest.raises((asyncio.CancelledError, Cancelled)):
        await task
    assert not left_on_host(folders)
    assert list(folders.target.iterdir()) == []


@pytest.mark.slow
def test_an_unknown_package_is_named(tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    spec = ImageSpec("small", "bookworm", ("no-such-package",), "0" * 64, 1024 * MIB)
    with pytest.raises(InvalidInput) as caught:
        build(folders, spec)
    assert caught.value.cause == "bookworm has no package no-such-package"
    assert not left_on_host(folders)


def test_an_unknown_suite_is_named(tmp_path: Path) -> None:
    spec = ImageSpec("small", "nosuch", (), "0" * 64, 1024 * MIB)
    with pytest.raises(InvalidInput) as caught:
        build(folders_in(tmp_path), spec)
    assert "no suite nosuch" in caught.value.cause


@pytest.mark.slow
def test_a_size_that_the_packages_do_not_fit_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rootfs, "MIN_BYTES", MIB)
    folders = folders_in(tmp_path)
    spec = ImageSpec("small", "bookworm", (), "0" * 64, 128 * MIB)
    with pytest.raises(HostNotReady) as caught:
        build(folders, spec)
    assert "--size" in caught.value.resolution


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
