"""How Hypothesis looks for counterexamples: anew each time at a desk, the same ones in CI.

A run in CI must say something about the change that it tests, and nothing about luck.
"""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline for one example: the machine may be busy, and no test here is about time.
settings.register_profile("desk", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI", "").lower() in {"1", "true"} else "desk")
