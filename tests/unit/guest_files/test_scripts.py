"""The shell scripts of guests are what their shells accept."""

from __future__ import annotations

import subprocess

import pytest

from tests.fakes.agent_port import GUEST_FILES
from tests.requirements import needs


@needs("busybox")
@pytest.mark.parametrize("name", ["init", "layer_init", "settle", "shell_init", "adopt"])
def test_syntax(name: str) -> None:
    subprocess.run(["busybox", "sh", "-n", GUEST_FILES / name], check=True)


@needs("shellcheck")
@pytest.mark.parametrize("name", ["init", "layer_init", "settle", "shell_init", "adopt"])
def test_shellcheck(name: str) -> None:
    # The identity is made at run time (SC1091), so nothing seems to set or use its variables
    # (SC2034); flags are split on purpose (SC2086); EPOCHSECONDS is busybox's own (SC3028).
    argv = ["shellcheck", "-s", "sh", "-e", "SC1091,SC2034,SC2086,SC3028"]
    done = subprocess.run(
        [*argv, str(GUEST_FILES / name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
