"""Climbs the rungs in order, skips what the machine lacks, and says at the end what was skipped."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest

from tests import requirements

#: The cheap and telling rungs come first. Each has its time limit in seconds.
RUNGS = {"style": 300, "unit": 60, "contract": 120, "integration": 600, "e2e": 900, "lab": 1200}
#: Of the lab's files the long ones first: two processes take file after file and end together.
LONGEST = (
    *("test_host.py", "test_firecracker_linux.py", "test_jail.py", "test_user.py"),
    "test_dm_snapshot.py",
)
TESTS = Path(__file__).parents[1]

PASSED: Counter[str] = Counter()
NEEDS: pytest.StashKey[tuple[str, ...]] = pytest.StashKey()


def rung_of(path: Path) -> str:
    """The rung a test file belongs to: the folder below ``tests``."""
    return path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) else ""


def place(path: Path) -> tuple[int, int]:
    """Where the tests of a file stand: by rung, in the lab by length; else as they were found."""
    rung = rung_of(path)
    number = list(RUNGS).index(rung) if rung in RUNGS else -1
    if rung != "lab":
        return number, 0
    return number, LONGEST.index(path.name) if path.name in LONGEST else len(LONGEST)


def _needs_of(item: pytest.Item) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for mark in item.iter_markers("needs") for name in mark.args))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    declared = {line.split(":")[0].split("(")[0] for line in config.getini("markers")}
    for item in items:
        rung = rung_of(item.path)
        if rung in RUNGS and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(RUNGS[rung]))
        item.stash[NEEDS] = _needs_of(item)
        for capability in item.stash[NEEDS]:
            if capability in declared:
                item.add_marker(getattr(pytest.mark, capability))
    items.sort(key=lambda item: place(item.path))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    wanted = item.stash[NEEDS]
    lacking = requirements.missing(wanted)
    if lacking:
        pytest.skip(lacking)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # They travel with the report to the process that sums up.
    report.user_properties.extend(("needs", name) for name in item.stash[NEEDS])
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        PASSED.update(str(value) for name, value in report.user_properties if name == "needs")


def unmet_expectations() -> list[str]:
    """What ``BANGER_EXPECT`` names and this run did not show."""
    unmet = []
    for capability in requirements.expected():
        lacking = requirements.missing([capability])
        if lacking:
            unmet.append(lacking)
        elif not PASSED[capability]:
            unmet.append(f"{capability} is here, but no test that needs it passed")
    return unmet


def _is_whole_run(config: pytest.Config) -> bool:
    if hasattr(config, "workerinput"):
        return False  # one of several processes, with a part of the tests
    return not (config.option.keyword or config.option.markexpr or config.option.file_or_dir)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK and _is_whole_run(session.config) and unmet_expectations():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    skipped: dict[str, list[str]] = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", []):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        skipped[text.removeprefix("Skipped: ")].append(report.nodeid)
    if skipped:
        terminalreporter.section("skipped, and why")
        for text, tests in sorted(skipped.items(), key=lambda pair: -len(pair[1])):
            terminalreporter.write_line(f"{len(tests):4} {text}  (first: {tests[0]})")
    if _is_whole_run(config):
        for line in unmet_expectations():
            terminalreporter.write_line(f"EXPECTED BUT NOT SHOWN: {line}", red=True, bold=True)
