"""Fixtures of every rung; what they do lives in ``tests/plugins``."""

from __future__ import annotations

pytest_plugins = [
    "tests.plugins.properties",
    "tests.plugins.ladder",
    "tests.plugins.guards",
    "tests.plugins.fixtures",
    "tests.plugins.lab",
    "tests.plugins.stalls",
    "tests.plugins.sides",
]
