"""How Hypothesis looks for counterexamples: anew each time at a desk, the same ones in CI.

A run in CI must say something about the change that it tests, and nothing about luck.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# No deadline, neither for one example nor for making it: the machine may be busy, and no test here
# is about time.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("desk", patient)
settings.register_profile("ci", patient, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI", "").lower() in {"1", "true"} else "desk")
