"""Puts the manual pages into a wheel: made from the commands, installed below share/man."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualHook(BuildHookInterface[Any]):
    """Called by hatchling when it builds a wheel, of the sources or editable."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        root = Path(self.root)
        folder = root / "build/man"
        # Before any other banger that is installed where this runs.
        sys.path.insert(0, str(root / "src"))
        try:
            from banger.manual.pages import write_pages

            written = write_pages(folder)
        finally:
            sys.path.remove(str(root / "src"))
        for page in written:
            build_data["shared_data"][str(page)] = f"share/man/{page.relative_to(folder)}"
