"""Starts the agent: in isolated mode Python does not look beside the script for modules."""

from __future__ import annotations

import sys

sys.path.insert(0, "/run/banger")

from agent.main import main  # noqa: E402 - the line above must come first

main()
