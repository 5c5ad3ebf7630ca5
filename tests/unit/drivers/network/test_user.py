from __future__ import annotations

import itertools
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.drivers.network import user
from banger.drivers.network.user import FIRST_PORT, PORTS, User, is_free, ports_of
from banger.errors import Conflict
from banger.host import process
from banger.model.operation import Presence

ID = "0123456789ab"


@given(st.integers(0, 2**32 - 2), st.text("0123456789abcdef", min_size=12, max_size=12))
def test_ports_lie_in_the_range(uid: int, vm_id: str) -> None:
    for port in itertools.islice(ports_of(uid, vm_id), 300):
        assert FIRST_PORT <= port < FIRST_PORT + PORTS < 32768


def test_every_port_comes_once() -> None:
    assert sorted(ports_of(1000, ID)) == list(range(FIRST_PORT, FIRST_PORT + PORTS))


def test_a_listener_is_seen_on_any_address() -> None:
    for host in ("127.0.0.1", "0.0.0.0"):
        with socket.create_server((host, 0)) as server:
            port = server.getsockname()[1]
            assert not is_free(port)
        assert is_free(port)


def test_remains_of_a_connection_are_no_obstacle() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # the server's side closes first and waits (TIME_WAIT)
        client.close()
    assert is_free(port)


async def test_a_port_taken_by_another_program_is_a_conflict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = User(1000)
    lease = next(network.candidates(ID))
    assert network.probe(lease, ID) is Presence.ABSENT
    monkeypatch.setattr(user, "is_free", lambda port: False)
    assert network.probe(lease, ID) is Presence.FOREIGN
    with pytest.raises(Conflict, match=str(lease.ssh_port)):
        await network.attach(lease, ID)
    assert list(network.candidates(ID)) == []
    monkeypatch.setattr(process, "find_by_argument", lambda mark: [1])
    assert network.probe(lease, ID) is Presence.OURS
    await network.attach(lease, ID)
