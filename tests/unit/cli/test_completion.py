from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.cli_home import CLIHome


def complete(banger: CLIHome, line: str, shell: str = "bash", **variables: str) -> list[str]:
    """What the shell is offered at the end of ``line``."""
    words = line.split(" ")
    current = str(len(words) - 1) if shell != "fish" else words[-1]
    environment = banger.environment | {
        "_BANGER_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": current,
    }
    done = subprocess.run(
        [sys.executable, "-m", "banger"],
        capture_output=True,
        text=True,
        env=os.environ | environment | variables,
        check=False,
    )
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if line]
    return [line.partition(",")[2] for line in lines] if shell == "bash" else lines


def test_commands_and_options(banger: CLIHome) -> None:
    assert complete(banger, "banger st") == ["stats", "start", "stop"]
    assert complete(banger, "banger vm re") == ["restart", "resume", "rename", "rebuild"]
    assert "--overlay-size" in complete(banger, "banger run --o")
    assert complete(banger, "banger completion ") == ["bash", "zsh", "fish"]
    assert complete(banger, "banger run --storage q") == ["qcow2"]


def test_names_that_fit_the_command(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    banger.fake.add_vm("db")
    banger.fake.add_vm("work", state="failed")
    banger.fake.add_image()
    assert complete(banger, "banger start ") == ["db", "work"]
    assert complete(banger, "banger stop ") == ["web"]
    assert complete(banger, "banger rm w") == ["web", "work"]
    assert complete(banger, "banger rm web w") == ["work"]
    assert complete(banger, "banger vm exec ") == ["web"]
    assert complete(banger, "banger vm set ") == ["db", "work"]
    assert complete(banger, "banger vm set --overlay-size 9G ") == ["db", "web", "work"]
    assert complete(banger, "banger vm clone ") == ["db", "work"]
    assert complete(banger, "banger vm rebuild db ") == ["work"]
    assert complete(banger, "banger vm rebuild --image ") == ["debian"]
    assert complete(banger, "banger run --image ") == ["debian"]
    assert complete(banger, "banger image delete de") == ["debian"]


def test_a_silent_daemon_stays_silent(banger: CLIHome) -> None:
    banger.server.end()
    assert complete(banger, "banger start ") == []
    assert not (banger.root / "state").exists()
    assert complete(banger, "banger start ", XDG_RUNTIME_DIR="/" + "x" * 200) == []
    assert complete(banger, "banger run --ram 9999999 --im") is not None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(banger: CLIHome, shell: str) -> None:
    script = banger("completion", shell)
    assert script.status == 0
    assert f"_BANGER_COMPLETE={shell}_complete" in script.stdout
    if shutil.which(shell):
        check = [shell, "-n"]
        subprocess.run(check, input=script.stdout, text=True, check=True)


def test_in_a_real_bash(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    program = banger.root / "bin/banger"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m banger "$@"\n')
    program.chmod(0o755)
    script = banger("completion", "bash").stdout + (
        "\nCOMP_WORDS=(banger stop '')\nCOMP_CWORD=2\n_banger_completion banger\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    path = f"{program.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | banger.environment | {"PATH": path},
        check=True,
    )
    assert done.stdout == "web\n"


def test_a_folder_for_state_is_not_made(banger: CLIHome) -> None:
    complete(banger, "banger ls ")
    assert not Path(banger.environment["XDG_STATE_HOME"]).exists()
