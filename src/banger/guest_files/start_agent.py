"""Starts the agent: in isolated mode Python does not look beside the script for modules."""

from __future__ import annotations

import sys

sys.path.insert(0, "/run/banger")
__import__("agent.main", fromlist=["main"]).main()
