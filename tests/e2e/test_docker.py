"""Docker in a guest, with containers of an image that the test makes itself: no registry."""

from __future__ import annotations

import io
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from banger.host.static_busybox import static_busybox
from tests.fakes.internet import WORLD, WORLD_HOST, internet, server
from tests.plugins.built_image import DOCKER_NAME, BuiltImage, ensure_built
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = [needs("root", "qemu", "image", "ssh", "tap", "nft", "busybox"), pytest.mark.slow]

APPLETS = ("sh", "echo", "wget", "ping", "httpd", "nc")
#: What each line of the report begins with tells where it comes from.
SCRIPT = f"""set -eu
docker import /root/box.tar box >/dev/null
echo "driver $(docker info --format '{{{{.Driver}}}} {{{{.CgroupVersion}}}}')"
docker run --rm box echo hello from a container
docker network create net >/dev/null
docker run -d --name web --network net -p 8080:80 box httpd -f -p 80 -h /www >/dev/null
docker run --rm --network net box sh -c 'echo "by name $(wget -q -O - http://web/)"
ping -c 1 web | while read -r line; do echo "ping $line"; done
echo "beyond $(nc -w 5 {WORLD} 80 </dev/null)"'
"""


@pytest.fixture
def world() -> Iterator[str]:
    with internet() as name:
        yield name


@pytest.fixture
def banger_with_docker(home: Home) -> Home:
    """The real CLI in a home that has the image ``docker-debian`` already."""
    BuiltImage(ensure_built(DOCKER_NAME).folder).give_to(home.paths)
    return home


def box(busybox: bytes) -> bytes:
    """The root file system of a container, as ``docker import`` takes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:

        def add(name: str, content: bytes, mode: int) -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))

        add("bin/busybox", busybox, 0o755)
        add("www/index.html", b"served", 0o644)
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return buffer.getvalue()


def test_containers_work_in_a_guest(
    banger_with_docker: Home, leaves_nothing: object, world: str, tmp_path: Path
) -> None:
    banger = banger_with_docker
    banger.ok("run", "--docker", "--nat", "--name", "box", timeout=180)
    archive = tmp_path / "box.tar"
    archive.write_bytes(box(static_busybox().read_bytes()))
    banger.ok("cp", str(archive), "box:/root/box.tar")

    # Until somebody asks for it, it costs nothing.
    assert banger("exec", "box", "--", "systemctl", "is-active", "docker").stdout == "inactive\n"
    banger.ok("exec", "box", "--", "systemctl", "enable", "--now", "docker", timeout=120)
    with server(world, 80):
        said = banger.ok("exec", "box", "--", "sh", "-c", SCRIPT, timeout=240).splitlines()
    assert "driver overlay2 2" in said
    assert "hello from a container" in said
    assert "by name served" in said
    assert any(line.startswith("ping 1 packets transmitted, 1 packets received") for line in said)
    assert f"beyond hello {WORLD_HOST}" in said

    address = banger.json("show", "box")["address"]
    with urllib.request.urlopen(f"http://{address}:8080/", timeout=10) as answer:
        assert answer.read() == b"served"
    banger.ok("rm", "--force", "box")
