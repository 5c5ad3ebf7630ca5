"""No command line, however odd, shows a traceback or an undocumented exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from banger.cli import vm_run
from banger.cli.root import DAEMON, IMAGE, OPERATION, ROOT, VM
from banger.client import autostart
from banger.errors import NotFound
from tests.fakes.cli_home import CLIHome, cli_home

STATUSES = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 125, 130}
#: Not called here: they take over the terminal, stop the fake daemon or look at this machine.
LEFT_OUT = {"console", "doctor", "ssh", "daemon", "system"}
NOUNS = {"vm": VM, "image": IMAGE, "operation": OPERATION, "op": OPERATION, "daemon": DAEMON}

names = [name for entry in ROOT for name in (entry.name, *entry.aliases) if name not in LEFT_OUT]
verbs = st.one_of(
    st.sampled_from(names).filter(lambda name: name not in NOUNS).map(lambda name: [name]),
    *(
        st.sampled_from([entry.name for entry in entries if entry.name not in LEFT_OUT]).map(
            lambda verb, noun=noun: [noun, verb]  # type: ignore[misc]
        )
        for noun, entries in NOUNS.items()
        if noun not in LEFT_OUT
    ),
)
words = st.one_of(
    st.sampled_from(
        ["web", "db", "debian", "--all", "--json", "-q", "--name", "--ram", "--vcpu", "-c", "--",
         "--format", "csv", "--sort", "-f", "--force", "--yes", "--timeout", "-n", "--image",
         "--rootfs", "/etc/hostname", "--kernel", "web:/tmp", "-", "--rm", "--no-wait", "1",
         "--size", "*", "--help", "-h", "--debug-", "--columns=name", "true", "0001", "--raw",
         "--disk-size", "64", "--packages", "--network", "user", "", "--no-color"]
    ),
    st.text(max_size=12).filter(lambda text: "\0" not in text),
    st.text(st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF), min_size=1, max_size=2),
)  # fmt: skip


def no_shell(name: str) -> NoReturn:
    raise NotFound(f"{name} is not copied to", cause="the guest is this machine", resolution="-")


@pytest.fixture(scope="module")
def home() -> Iterator[CLIHome]:
    with cli_home() as made:
        yield made


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(verb=verbs, rest=st.lists(words, max_size=6))
def test_any_command_line(
    home: CLIHome, monkeypatch: pytest.MonkeyPatch, verb: list[str], rest: list[str]
) -> None:
    monkeypatch.setattr(autostart, "_launch", lambda _: pytest.fail("a daemon was started"))
    # What is run in the "guest" would be run on this machine.
    monkeypatch.setattr(vm_run, "run_in_guest", lambda *_, **__: 0)
    monkeypatch.setattr("banger.cli.exec.run_in_guest", lambda *_, **__: 0)
    monkeypatch.setattr("banger.cli.copy.run_in_guest", lambda *_, **__: 0)
    monkeypatch.setattr("banger.cli.copy._shell", no_shell)
    # Nothing answers here, and two looks need no time between them.
    monkeypatch.setattr("banger.cli.vm_wait.wait_for", lambda *_: None)
    monkeypatch.setattr("banger.cli.vm_stats.time.sleep", lambda _: None)
    home.fake.vms.clear()
    home.fake.images.clear()
    home.fake.add_vm("web", state="running")
    home.fake.add_vm("db")
    home.fake.add_image()
    if verb[-1] in ("cp", "copy"):
        rest = [word for word in rest if ":" not in word]
    result = home(*verb, *rest)
    assert result.status in STATUSES
    assert "Traceback" not in result.stderr
    assert "defect" not in result.stderr, (verb, rest, result)
    if result.status == 0 and "--json" in rest and result.stdout.startswith(("[", "{")):
        json.loads(result.stdout)
