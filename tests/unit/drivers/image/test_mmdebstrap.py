from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from msgspec.structs import replace

from banger.drivers.image import hooks
from banger.drivers.image.mmdebstrap import Bootstrap, build_command
from banger.drivers.image.overlay import EPOCH

PLAN = Bootstrap(
    mode="root",
    prefix=("unshare", "--mount", "--"),
    suite="bookworm",
    packages=("systemd", "git"),
    kernels=("linux-image-cloud-amd64",),
    apt_options=('Acquire::Retries "3"',),
    sources=Path("/s/banger.sources"),
    overlay=Path("/s/over lay.tar"),
    debs=Path("/c/bookworm"),
    new_debs=Path("/s/debs"),
    work=Path("/w"),
)


def hooks_of(argv: tuple[str, ...], kind: str) -> list[str]:
    start = f"--{kind}-hook="
    return [word.removeprefix(start) for word in argv if word.startswith(start)]


def test_the_command() -> None:
    command = build_command(PLAN)
    argv = command.argv
    assert argv[:3] == PLAN.prefix
    assert argv[3:9] == (
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=tar",
        "--verbose",
        "--skip=essential/unlink",
    )
    assert "--include=systemd,git" in argv
    assert '--aptopt=Acquire::Retries "3"' in argv
    assert argv[-3:] == ("bookworm", "/w/base.tar", "/s/banger.sources")
    assert command.env == {"SOURCE_DATE_EPOCH": str(EPOCH), "TMPDIR": "/w"}
    assert command.package == "mmdebstrap"


def test_without_sources_of_the_host_mmdebstrap_chooses() -> None:
    assert build_command(replace(PLAN, sources=None)).argv[-1] == "/w/base.tar"


def test_packages_come_from_the_cache_and_new_ones_go_back() -> None:
    argv = build_command(PLAN).argv
    setup, customize = hooks_of(argv, "setup"), hooks_of(argv, "customize")
    assert setup[1] == "sync-in /c/bookworm /var/cache/apt/archives"
    # New is what changed after this mark, so it must come behind the copy.
    assert setup[2] == hooks.MARK
    assert "sync-out /banger-debs /s/debs" in customize
    assert customize[-1] == hooks.FORGET_DEBS


def test_a_path_with_a_space_stays_one_word() -> None:
    special = next(h for h in hooks_of(build_command(PLAN).argv, "customize") if "tar-in" in h)
    assert shlex.split(special) == ["tar-in", "/s/over lay.tar", "/"]


def test_licences_are_kept() -> None:
    argv = build_command(PLAN).argv
    assert argv.index("--dpkgopt=path-exclude=/usr/share/doc/*") < argv.index(
        "--dpkgopt=path-include=/usr/share/doc/*/copyright"
    )


def test_units_on_demand_lose_their_links(tmp_path: Path) -> None:
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    for unit in ("docker.service", "ssh.service"):
        (wants / unit).symlink_to(f"/lib/systemd/system/{unit}")
    command = build_command(replace(PLAN, on_demand=("docker.service",)))
    hook = hooks_of(command.argv, "customize")[1]
    subprocess.run(["sh", "-c", hook, "hook", str(tmp_path)], check=True)
    assert [path.name for path in wants.iterdir()] == ["ssh.service"]
    assert hook not in hooks_of(build_command(PLAN).argv, "customize")


def test_the_hooks_are_shell() -> None:
    scripts = [hooks.kernel_hook(("a", "b")), hooks.tidy_hook(), hooks.PREPARE, hooks.MARK]
    scripts.append(hooks.disable_hook(("a.service",)))
    for script in [*scripts, hooks.FORGET_DEBS]:
        assert "@" not in script.replace("${Package}", "")
        subprocess.run(["sh", "-n", "-c", script], check=True)


def test_kernel_packages_are_tried_in_order() -> None:
    assert "for meta in best second; do" in hooks.kernel_hook(("best", "second"))
