from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from banger.drivers.image import docker, rootfs
from banger.errors import InvalidInput
from banger.model.image import ImageSpec

SPEC = ImageSpec("work", "bookworm", ("git",), "0" * 64, 1024**3)


def modules_in(folder: Path, *names: str, builtin: tuple[str, ...] = ()) -> Path:
    kernel = folder / "6.1.0-1-amd64"
    (kernel / "kernel").mkdir(parents=True)
    for name in names:
        (kernel / "kernel" / f"{name}.ko.xz").touch()
    lines = "".join(f"kernel/{name}.ko\n" for name in builtin)
    (kernel / "modules.builtin").write_text(lines)
    return kernel


def test_modules_may_be_built_in(tmp_path: Path) -> None:
    kernel = modules_in(tmp_path, *docker.MODULES[:5], builtin=docker.MODULES[5:])
    (kernel / "modules.builtin.modinfo").touch()
    docker.check_modules(kernel)


def test_what_lacks_is_named(tmp_path: Path) -> None:
    kernel = modules_in(tmp_path, *docker.MODULES[2:])
    with pytest.raises(InvalidInput) as caught:
        docker.check_modules(kernel)
    assert caught.value.cause == "it lacks the modules overlay, bridge"
    assert "6.1.0-1-amd64" in caught.value.brief


def test_newer_releases_have_the_client_apart() -> None:
    assert "docker-cli" not in docker.packages_for("bookworm")
    assert {"docker-cli", "docker.io"} <= set(docker.packages_for("trixie"))


def test_an_image_with_docker_is_another_image() -> None:
    assert rootfs.identifier(SPEC, "x") != rootfs.identifier(replace(SPEC, docker=True), "x")
