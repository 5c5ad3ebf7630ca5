"""An image made of another one, by the command line, and the VM that boots it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = [needs("root", "qemu", "image", "ssh", "userns"), pytest.mark.slow]


def test_a_customised_image_boots_with_what_was_put_into_it(
    banger_with_image: Home, leaves_nothing: object, tmp_path: Path
) -> None:
    banger = banger_with_image
    listing = tmp_path / "more.apt"
    listing.write_text("# one small program\ntree\n")
    asked = ("image", "customize", "debian", "--packages", str(listing), "--out", "work")
    banger.ok(*asked, timeout=300)
    image = banger.json("image", "show", "work")
    assert image["origin"] == "customised from debian"
    assert (image["drift"], image["docker"]) == (False, False)
    again = banger(*asked)
    assert (again.status, "exists already" in again.stderr) == (5, True)

    banger.ok("run", "--image", "work", "--name", "web")
    assert banger.ok("exec", "web", "--", "tree", "--version").startswith("tree v")
    # Nothing of the making is left in it, and nothing of it on the host.
    script = (
        "ls -d /.banger* /usr/sbin/policy-rc.d 2>/dev/null; dpkg --audit; dpkg -l tree | tail -1"
    )
    assert banger.ok("exec", "web", "--", "sh", "-c", script).split()[:2] == ["ii", "tree"]
    with Path("/proc/self/mounts").open() as mounts:
        assert "banger-image" not in mounts.read()

    # Its base may go; it may not while a VM uses it.
    banger.ok("image", "rm", "debian")
    assert banger("image", "rm", "work").status == 5
    banger.ok("rm", "--force", "web")
    argv = ["e2fsck", "-f", "-n", str(Path(image["directory"], "rootfs.ext4"))]
    subprocess.run(argv, check=True, capture_output=True, env={"PATH": "/usr/sbin:/usr/bin"})
    banger.ok("image", "rm", "work")
