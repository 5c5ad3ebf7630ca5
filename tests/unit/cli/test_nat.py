"""``nat`` and ``vm forward`` over a fake daemon."""

from __future__ import annotations

import json

import pytest

from banger.cli import nat
from banger.model.lifecycle import LEGAL, Action
from tests.fakes.cli_home import CLIHome


def test_states_are_those_of_the_model() -> None:
    assert set(nat.CHANGEABLE) == {str(state) for state in LEGAL[Action.REACH]}


def test_nat_up_and_down(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    banger.fake.add_vm("db")
    result = banger("nat", "up", "web", "db")
    assert (result.status, result.stdout) == (0, "NAT up for web\nNAT up for db\n")
    assert [body["up"] for body in banger.sent("POST", "/v1/vms/")] == [True, True]
    assert banger("nat", "down", "web").stdout == "NAT down for web\n"
    rows = [line.split() for line in banger("nat", "status").stdout.splitlines()]
    assert [row[:3] for row in rows[1:]] == [["db", "stopped", "up"], ["web", "running", "down"]]


def test_status_of_some_as_json(banger: CLIHome) -> None:
    banger.fake.add_vm("web", nat=True)
    banger.fake.add_vm("db")
    (vm,) = json.loads(banger("nat", "status", "web", "--json").stdout)
    assert (vm["name"], vm["nat"], vm["forwards"]) == ("web", True, [])


def test_an_unknown_vm_is_told_with_a_suggestion(banger: CLIHome) -> None:
    banger.fake.add_vm("web")
    result = banger("nat", "up", "wbe")
    assert result.status == 4
    assert "web" in result.stderr


def test_ports_are_published_listed_and_taken_back(banger: CLIHome) -> None:
    banger.fake.add_vm("web")
    result = banger("vm", "forward", "web", "8080:80", "5353:53/udp")
    assert result.stdout == "web publishes 8080:80\nweb publishes 5353:53/udp\n"
    assert banger("vm", "forward", "web").stdout == "8080:80\n5353:53/udp\n"
    assert json.loads(banger("vm", "forward", "web", "--json").stdout)[0]["guest_port"] == 80
    assert "8080:80" in banger("show", "web").stdout
    assert "8080:80" in banger("nat", "status").stdout
    result = banger("vm", "forward", "rm", "web", "8080")
    assert result.stdout == "web no longer publishes 8080:80\n"
    assert banger("vm", "forward", "web").stdout == "5353:53/udp\n"


def test_ports_of_all_vms_are_listed(banger: CLIHome) -> None:
    assert banger("vm", "forward", "list").stderr == "no port is published\n"
    for name in ("web", "db", "quiet"):
        banger.fake.add_vm(name)
    banger("vm", "forward", "add", "web", "8080:80", "5353:53/udp")
    banger("vm", "forward", "db", "5432:5432")
    rows = [line.split() for line in banger("vm", "forward", "list").stdout.splitlines()]
    assert rows == [
        ["NAME", "STATE", "HOST", "GUEST", "PROTOCOL"],
        ["db", "stopped", "5432", "5432", "tcp"],
        ["web", "stopped", "8080", "80", "tcp"],
        ["web", "stopped", "5353", "53", "udp"],
    ]
    (row,) = json.loads(banger("vm", "forward", "ls", "db", "--json").stdout)
    assert (row["name"], row["port"], row["protocol"]) == ("db", "5432:5432", "tcp")
    assert banger("vm", "forward", "list", "nobody").status == 4


def test_a_published_port_is_named_by_as_much_as_is_needed(banger: CLIHome) -> None:
    banger.fake.add_vm("web")
    banger("vm", "forward", "web", "5353:53/udp", "5353:80", "8080:81")
    before = banger("vm", "forward", "web").stdout
    for wrong in ("5354", "5353:99", "8080/udp"):
        refused = banger("vm", "forward", "rm", "web", "8080", wrong)
        assert (refused.status, f"does not publish {wrong}" in refused.stderr) == (4, True)
    assert banger("vm", "forward", "rm", "web").status == 2
    assert banger("vm", "forward", "rm", "web", "8080", "--all").status == 2
    assert banger("vm", "forward", "rm", "web", "x").status == 2
    assert banger("vm", "forward", "web").stdout == before, "a refusal changes nothing"
    banger("vm", "forward", "rm", "web", "5353")
    assert banger("vm", "forward", "web").stdout == "5353:53/udp\n8080:81\n"
    assert banger("vm", "forward", "rm", "web", "--all").status == 0
    assert banger("vm", "forward", "web").stdout == ""


def test_a_vm_may_be_called_as_a_command(banger: CLIHome) -> None:
    banger.fake.add_vm("list")
    assert banger("vm", "forward", "add", "list", "8080:80").stdout == "list publishes 8080:80\n"


@pytest.mark.parametrize(
    "port", ["80", "0:80", "80:65536", "80:80/sctp", "a:b", "8080:80/udp/tcp", "127.0.0.1:80:80"]
)
def test_odd_ports_are_refused(banger: CLIHome, port: str) -> None:
    banger.fake.add_vm("web")
    result = banger("vm", "forward", "web", port)
    assert result.status == 2
    assert "is not a port to publish" in result.stderr
    assert not banger.sent("POST", "/v1/vms/")


def test_nat_at_creation(banger: CLIHome) -> None:
    banger.fake.add_image()
    ports = ("-p", "8080:80", "--forward", "5353:53/udp")
    assert banger("create", "--name", "web", "--nat", "--isolated", *ports).status == 0
    (body,) = banger.sent("POST", "/v1/vms")
    assert body["forwards"] == [
        {"host_port": 8080, "guest_port": 80, "protocol": "tcp"},
        {"host_port": 5353, "guest_port": 53, "protocol": "udp"},
    ]
    assert body["nat"] is True
    assert body["isolated"] is True
