"""The conformance suite of storage on a host whose kernel has device-mapper."""

from __future__ import annotations

import re

from tests.lab import pytest_files
from tests.lab.session import Session
from tests.requirements import needs

pytestmark = needs("lab")


def test_every_promise_of_storage_holds_on_real_devices() -> None:
    with Session(more=pytest_files.given()) as lab:
        done = lab.control.run(
            *("python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5"),
            *("tests/contract/test_storage.py", "-k", "dm_snapshot and not faked"),
            env={"CI": "1", "BANGER_EXPECT": "dm"},
            cwd="/opt/banger",
            timeout=240,
        )
        shown = (done.stdout + done.stderr).decode(errors="replace")
        print(shown)
        counts = set(re.findall(r"\d+ (passed|skipped|failed|error)", shown.splitlines()[-1]))
        assert done.returncode == 0, shown
        assert counts == {"passed"}, shown
        left = lab.shell("dmsetup ls; losetup --list --noheadings")
        assert left.strip() == "No devices found"
