from __future__ import annotations

import threading
import time

import pytest

from banger.client.client import BangerClient
from banger.client.events import ReceivedEvent
from banger.client.follow import MOST_LOSSES, failure, follow
from banger.client.transport import ConnectionCut, DaemonSilent
from banger.errors import Cancelled, DaemonUnreachable, VMMFailed
from tests.fakes.cli_home import CLIHome
from tests.fakes.daemon_server import Server


def client(banger: CLIHome, **options: object) -> BangerClient:
    return BangerClient(str(banger.fake.socket_path), **options)  # type: ignore[arg-type]


def test_steps_come_in_order(banger: CLIHome) -> None:
    vm = banger.fake.add_vm("web")
    operation = banger.fake.operate("vm.start", vm, lambda: None, ("one", "two"))
    seen: list[ReceivedEvent] = []
    ended = follow(client(banger), operation["id"], seen.append)
    assert ended["status"] == "succeeded"
    assert [e.data["title"] for e in seen if e.kind == "step"] == ["one", "one", "two", "two"]
    assert failure(ended) is None


def test_failures_have_their_class_and_log(banger: CLIHome) -> None:
    vm = banger.fake.add_vm("web")
    banger.fake.failures["vm.start"] = {"code": "vmm_failed", "brief": "b", "details": "d"}
    operation = banger.fake.operate("vm.start", vm, lambda: None)
    error = failure(follow(client(banger), operation["id"], lambda _: None))
    assert isinstance(error, VMMFailed)
    assert error.details == "d\nfull log: /state/operations/x.log"


def test_a_cancelled_operation_without_an_error(banger: CLIHome) -> None:
    banger.fake.endless.add("vm.start")
    operation = banger.fake.operate("vm.start", banger.fake.add_vm("web"), lambda: None)
    banger.fake.cancel(operation)
    error = failure(client(banger).operation(operation["id"]))
    assert isinstance(error, Cancelled)
    assert error.exit_status == 130


def test_a_cut_stream_is_taken_up_again(banger: CLIHome) -> None:
    banger.fake.cuts = 2
    operation = banger.fake.operate("vm.start", banger.fake.add_vm("web"), lambda: None)
    revivals: list[int] = []
    alive = client(banger, revive=lambda: revivals.append(1))
    assert follow(alive, operation["id"], lambda _: None)["status"] == "succeeded"
    assert len(revivals) == 2
    banger.fake.cuts = 1
    with pytest.raises(ConnectionCut):
        follow(client(banger), operation["id"], lambda _: None)


def test_daemons_that_die_one_after_the_other_are_given_up(banger: CLIHome) -> None:
    """What kills each of them is perhaps this very operation, whose events come anew each time."""
    banger.fake.cuts = 1000
    banger.fake.endless.add("vm.start")
    operation = banger.fake.operate("vm.start", banger.fake.add_vm("web"), lambda: None)
    revivals: list[int] = []
    seen: list[ReceivedEvent] = []
    with pytest.raises(DaemonUnreachable, match="again and again") as met:
        follow(client(banger, revive=lambda: revivals.append(1)), operation["id"], seen.append)
    assert met.value.resolution == "banger daemon logs"
    assert len(revivals) == MOST_LOSSES


def test_those_that_lived_long_are_not_counted(
    banger: CLIHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    banger.fake.cuts = 2 * MOST_LOSSES
    operation = banger.fake.operate("vm.start", banger.fake.add_vm("web"), lambda: None)
    monkeypatch.setattr("banger.client.follow.PATIENCE", -1.0)
    alive = client(banger, revive=lambda: None)
    assert follow(alive, operation["id"], lambda _: None)["status"] == "succeeded"


def test_a_killed_daemon_is_replaced_meanwhile(banger: CLIHome) -> None:
    banger.fake.endless.add("vm.start")
    operation = banger.fake.operate("vm.start", banger.fake.add_vm("web"), lambda: None)

    def revive() -> None:
        # The new daemon's recovery has undone the operation.
        banger.fake.cancel(operation)
        banger.server = Server(banger.fake)

    thread = threading.Timer(0.2, banger.server.end)
    thread.start()
    ended = follow(client(banger, revive=revive), operation["id"], lambda _: None)
    thread.join()
    assert ended["status"] == "cancelled"


def test_a_silent_daemon_is_an_error_without_a_way_to_start_it(banger: CLIHome) -> None:
    banger.server.end()
    began = time.monotonic()
    with pytest.raises(DaemonSilent):
        follow(client(banger), "x", lambda _: None)
    assert time.monotonic() - began < 5
