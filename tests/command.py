"""Runs a program for its output, and shows all that it said when it fails."""

from __future__ import annotations

import subprocess
from pathlib import Path


def output(*argv: str, folder: Path | None = None, timeout: float | None = None) -> str:
    """What the program wrote to stdout, run in ``folder``; ``timeout`` is in seconds.

    Raises ``RuntimeError`` with its last words if it fails.
    """
    done = subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, check=False, timeout=timeout
    )
    if done.returncode:
        words = f"{done.stdout}\n{done.stderr}".strip()[-3000:]
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}:\n{words}")
    return done.stdout
