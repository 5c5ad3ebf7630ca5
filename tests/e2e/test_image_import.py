"""Images of containers become VMs: no init, no Python, no SSH server in them, and all works."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.fakes.archives import busybox_layer, docker, entry, files, oci, tar
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = needs("qemu", "image", "busybox", "e2fsprogs")
BUSYBOX = Path("/bin/busybox")
GREETING = "there and back"


def test_a_busybox_image(
    banger_with_image: Home, tmp_path: Path, leaves_nothing: Callable[[], None]
) -> None:
    banger = banger_with_image
    first = busybox_layer(BUSYBOX.read_bytes(), etc__gone=b"x")
    # As in Alpine's: busybox as init, told to start an OpenRC that is not there.
    second = tar(
        entry("etc/.wh.gone"),
        (entry("hello"), b"from the second layer\n"),
        entry("sbin/init", tarfile.SYMTYPE, linkname="/bin/busybox"),
        (entry("etc/inittab"), b"::sysinit:/sbin/openrc sysinit\ntty1::respawn:/sbin/getty\n"),
    )
    config = {"Env": ["PATH=/bin", f"GREETING={GREETING}"], "Entrypoint": ["/bin/sh"]}
    archive = tmp_path / "box.tar"
    archive.write_bytes(oci(first, second, compression="gzip", config=config).archive())
    banger.ok("image", "import", str(archive), "--size", "1G")
    banger.ok("run", "--image", "box", "--name", "box", "--memory", "256M")

    def guest(script: str) -> str:
        return banger.ok("exec", "box", "--", "sh", "-c", script)

    assert guest("cat /hello; ls /etc/gone 2>/dev/null; hostname; echo $GREETING") == (
        f"from the second layer\nbox\n{GREETING}\n"
    )
    (tmp_path / "note").write_text("copied")
    banger.ok("cp", str(tmp_path / "note"), "box:/tmp/note")
    assert guest("cat /tmp/note; ls /lib/modules").startswith("copied")
    assert banger("exec", "box", "--", "sh", "-c", "exit 7").status == 7
    assert "a shell is on the console" in banger.ok("logs", "box")
    banger.ok("stop", "box")
    shown = json.loads(banger.ok("show", "box", "--json"))
    assert shown["last_exit"]["reason"] != "killed"
    banger.ok("rm", "box")

    # The same archive gives the same image, and an export comes back as it was.
    digest = json.loads(banger.ok("image", "show", "box", "--json"))["rootfs_sha256"]
    out = tmp_path / "export.tar.gz"
    banger.ok("image", "export", "box", "--gzip", "--out", str(out))
    banger.ok("image", "rm", "box")
    for source in (archive, out):
        banger.ok("image", "import", str(source), "--name", "again", "--size", "1G")
        image = json.loads(banger.ok("image", "show", "again", "--json"))
        assert image["rootfs_sha256"] == digest
        banger.ok("image", "rm", "again")

    # Nothing is left of one that is refused.
    archive.write_bytes(oci(tar((entry("../../evil"), b"x"))).archive())
    refused = banger("image", "import", str(archive), "--name", "evil")
    assert (refused.status, "leads up" in refused.stderr) == (2, True)
    assert refused.stderr.splitlines()[-3].startswith("error: ")
    assert banger.ok("image", "ls", "-q") == "debian\n"
    assert len(list(banger.paths.images.iterdir())) == 1
    assert not list(banger.paths.scratch.iterdir())


def test_an_image_of_one_program(
    banger_with_image: Home, tmp_path: Path, leaves_nothing: Callable[[], None]
) -> None:
    """As ``FROM scratch`` makes them: not even a shell."""
    banger = banger_with_image
    archive = tmp_path / "one.tar"
    program = tar((entry("cat", mode=0o755), BUSYBOX.read_bytes()))
    archive.write_bytes(docker(program, files(data=b"all there is\n")))
    banger.ok("image", "import", str(archive), "--size", "1G")
    banger.ok("run", "--image", "one", "--name", "one", "--memory", "256M")
    assert banger.ok("exec", "one", "--", "/cat", "/data") == "all there is\n"
    banger.ok("rm", "--force", "one")


def test_export_to_a_pipe(banger_with_image: Home, tmp_path: Path) -> None:
    """The default image as a stream, which tar itself can read."""
    done = banger_with_image.run_bytes("image", "export", "debian", "--out", "-")
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        ["tar", "-tf", "-"], input=done.stdout, capture_output=True, check=True
    ).stdout.decode()
    assert listed.split() == ["banger-image.json", "vmlinux", "initrd.cpio", "rootfs.ext4"]
