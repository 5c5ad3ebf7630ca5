"""Compares output with a file below ``tests/golden``."""

from __future__ import annotations

from pathlib import Path

from tests.plugins.guards import GIVEN_ENVIRONMENT

FOLDER = Path(__file__).parents[1] / "golden"


def assert_golden(name: str, text: str) -> None:
    """``text`` is what the file holds; ``UPDATE_GOLDEN=1`` writes the file instead."""
    path = FOLDER / name
    if GIVEN_ENVIRONMENT.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
