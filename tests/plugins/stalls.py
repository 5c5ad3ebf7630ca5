"""When the lab host stalls: the tests of the file up to there once more, on a fresh one.

With QEMU on two processors every other session did, or a guest in it, or had a triple fault: see
``_one_cpu`` in ``tests/lab/machine.py``. The lab's kernel was seen to take a fault with the
registers of a guest ("stack guard page was hit", in ``fc_vcpu``). The tests of a file share one lab
host and what the earlier ones did in it, so that all are repeated; the end of the run tells of it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.lab.control import LabStalled
from tests.plugins.lab import LabHome

#: How often the tests of a file are repeated for one of them.
MOST_REPETITIONS = 2
STALLED: pytest.StashKey[str] = pytest.StashKey()
#: What a repeated test reports; only there while it is repeated.
REPEATED: pytest.StashKey[list[pytest.TestReport]] = pytest.StashKey()
TOLD: pytest.StashKey[list[str]] = pytest.StashKey()


def _uses_lab(item: pytest.Item) -> bool:
    return any("lab" in mark.args for mark in item.iter_markers("needs"))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TOLD] = []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Of one of several processes: what it has to tell goes to the one that sums up."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["stalls"] = session.config.stash[TOLD]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[TOLD] += getattr(node, "workeroutput", {}).get("stalls", [])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.excinfo is not None and report.failed and _uses_lab(item):
        error = call.excinfo.value
        try:
            if not isinstance(error, LabStalled) and (lost := _lost_guests(item)):
                error = LabStalled(f"{', '.join(lost)}: {error}")
        except LabStalled as stalled:
            error = stalled
        if isinstance(error, LabStalled):
            item.stash[STALLED] = f"{error}{_last_words(item)}"
    return report


def _homes(item: pytest.Item) -> list[LabHome]:
    given = (getattr(item, "funcargs", None) or {}).values()
    return [value for value in given if isinstance(value, LabHome)]


def _lost_guests(item: pytest.Item) -> list[str]:
    return [told for home in _homes(item) for told in home.lost_guests()]


def _last_words(item: pytest.Item) -> str:
    """The last lines of the lab host's own console: why it is gone, if it panicked."""
    words = (home.session.machine.last_words() for home in _homes(item)[:1])
    return "".join(f"\n  | {line}" for text in words for line in text.splitlines()[-12:])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if not _uses_lab(item):
        return None
    if REPEATED in item.stash:
        item.stash[REPEATED] = runtestprotocol(item, log=False, nextitem=nextitem)
        return True
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for _ in range(MOST_REPETITIONS):
        if STALLED in item.stash:
            reports = _once_more(item, nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _once_more(item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    """The reports of ``item`` after its file so far, or of the test that then failed before it."""
    story = [one for one in item.session.items if one.path == item.path and _uses_lab(one)]
    story = story[: story.index(item) + 1]
    told = f"in {item.nodeid}: {item.stash[STALLED]}"
    del item.stash[STALLED]
    item.config.stash[TOLD].append(f"{told}; {len(story)} tests once more")
    item.session._setupstate.teardown_exact(None)  # the lab host ends with the file's fixtures
    reports: list[pytest.TestReport] = []
    for one, following in zip(story, [*story[1:], nextitem], strict=True):
        one.stash[REPEATED] = []
        one.ihook.pytest_runtest_protocol(item=one, nextitem=following)  # with its own time limit
        reports = one.stash[REPEATED]
        del one.stash[REPEATED]
        if any(report.failed for report in reports) and one is not item:
            if STALLED in one.stash:
                item.stash[STALLED] = f"{one.name}: {one.stash[STALLED]}"
                del one.stash[STALLED]
            item.session._setupstate.teardown_exact(nextitem)
            break
    for report in reports:
        report.sections.append(("the lab host stalled", told))
    return reports


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for told in config.stash[TOLD]:
        terminalreporter.write_line(f"LAB STALLED {told}", yellow=True, bold=True)
