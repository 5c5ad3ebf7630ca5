"""``python -m banger`` is the ``banger`` command."""

from __future__ import annotations

import sys

from banger.cli.main import main

sys.exit(main())
