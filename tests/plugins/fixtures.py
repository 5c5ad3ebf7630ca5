"""A home for each test: empty, or with the default image; and the gate against leaks.

``banger`` runs the CLI in an empty home. ``banger_with_image`` runs it in a home that already
has the default image (built once, kept between runs), so that ``run`` boots at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.plugins.built_image import BuiltImage, ensure_built
from tests.plugins.home import CommandLine, Home
from tests.plugins.inventory import Inventory


@contextmanager
def temporary_home() -> Iterator[Home]:
    """An empty home; whatever starts in it has ended when the block has."""
    made = Home(Path(tempfile.mkdtemp(prefix="bgr-")))
    try:
        yield made
    finally:
        made.clear()


@pytest.fixture
def home() -> Iterator[Home]:
    """An empty home for one test."""
    with temporary_home() as made:
        yield made


@pytest.fixture
def banger(home: Home) -> Home:
    """The real CLI in an empty home: ``status, stdout, stderr = banger("vm", "list")``."""
    return home


@pytest.fixture(scope="session")
def built_image() -> Path:
    """A folder with ``rootfs.ext4``, ``vmlinux`` and ``initrd.cpio``, made by the real builder."""
    return ensure_built().folder


@pytest.fixture
def banger_with_image(home: Home, built_image: Path) -> Home:
    """The real CLI in a home that has the image ``debian`` already."""
    BuiltImage(built_image).give_to(home.paths)
    return home


@pytest.fixture
def leaves_nothing(home: Home) -> Iterator[Callable[[], None]]:
    """Fails the test if a process, interface, mount or VM file of its home outlives its VMs.

    The returned function checks at once, for tests that look in between.
    """
    before = Inventory.take(home.paths)

    def check() -> None:
        left = Inventory.take(home.paths).beyond(before)
        assert not left, f"left on the host: {left}"

    yield check
    check()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, CommandLine):
                report.sections.extend(value.logs())
                break
    return report
