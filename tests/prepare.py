"""Builds what tests share and takes minutes, beside the first rungs: ``python -m tests.prepare``.

Each part is made once, under a lock: a test that needs it earlier waits, and one that finds nothing
makes it and shows what goes wrong. So a failure here is told, but is none of the run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from tests.lab import saved
from tests.own_files import own_kernel
from tests.plugins.built_image import DOCKER_NAME, ensure_built
from tests.requirements import reason

#: What is made, and the capabilities without which no test wants it.
PARTS: tuple[tuple[Callable[[], object], tuple[str, ...]], ...] = (
    (ensure_built, ("image",)),
    (saved.ensure_saved, ("lab",)),
    (own_kernel, ("root", "image")),
    (lambda: ensure_built(DOCKER_NAME), ("qemu", "image")),
)


def main() -> int:
    """Make all parts; 1 if one could not be made."""
    status = 0
    for make, needs in PARTS:
        if any(reason(need) for need in needs):
            continue
        try:
            make()
        except Exception as error:  # noqa: BLE001 - the tests will show it whole
            print(f"not prepared: {type(error).__name__}: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
