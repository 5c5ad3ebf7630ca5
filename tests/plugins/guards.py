"""Keeps tests apart: no test may leave the environment, the folder or the logging changed."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

XDG = {
    "XDG_STATE_HOME": "state",
    "XDG_DATA_HOME": "data",
    "XDG_CACHE_HOME": "cache",
    "XDG_CONFIG_HOME": "config",
    "XDG_RUNTIME_DIR": "run",
}
#: The environment as the user gave it, before the guard below replaced HOME.
GIVEN_ENVIRONMENT = dict(os.environ)


def home_environment(root: Path) -> dict[str, str]:
    """The variables that make ``root`` the home of everything banger keeps."""
    return {"HOME": str(root)} | {name: str(root / folder) for name, folder in XDG.items()}


def pytest_configure() -> None:
    # A shell's background job ignores Ctrl-C, and so would all that the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def no_real_home() -> Iterator[None]:
    """A test that forgets to choose a home gets an empty one, never the user's."""
    with tempfile.TemporaryDirectory(prefix="bgr-nohome-") as folder:
        changed = home_environment(Path(folder))
        before = {name: os.environ.get(name) for name in changed}
        os.environ.update(changed)
        yield
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _logging_state() -> tuple[int, tuple[logging.Handler, ...], int]:
    root = logging.getLogger()
    ours = logging.getLogger("banger")
    # pytest itself adds and removes its capturing handlers around every phase.
    handlers = [h for h in (*root.handlers, *ours.handlers) if "pytest" not in type(h).__module__]
    return root.level, tuple(handlers), ours.level


@pytest.fixture(autouse=True)
def nothing_left_changed() -> Iterator[None]:
    environment, folder, logs = dict(os.environ), Path.cwd(), _logging_state()
    yield
    ignored = {"PYTEST_CURRENT_TEST"}
    after = dict(os.environ)
    changed = {
        name
        for name in environment.keys() | after.keys()
        if name not in ignored and environment.get(name) != after.get(name)
    }
    where = Path.cwd()
    # Put it right first, so that one careless test does not fail all that follow.
    for name in changed:
        if name in environment:
            os.environ[name] = environment[name]
        else:
            del os.environ[name]
    os.chdir(folder)
    assert not changed, f"the test left these variables changed: {sorted(changed)}"
    assert where == folder, f"the test left the current folder at {where}"
    assert _logging_state() == logs, "the test left the logging set-up changed"
