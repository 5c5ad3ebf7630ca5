"""The table as text, and as it is read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.privileged import listeners, ruleset
from banger.privileged.calls import CallFailed
from banger.privileged.ruleset import Change, Guest, Rules
from banger.privileged.set_elements import Parts

WEB = Guest(
    tap="bgr0123456789ab",
    mac="02:11:22:33:44:55",
    address="10.208.4.2",
    internet=True,
    forwards=("tcp:8080:80", "udp:5353:53"),
)
DB = Guest("bgrba9876543210", "02:11:22:33:44:66", "10.208.4.6", isolated=True, dns_port=10053)


def test_one_table_is_replaced_in_one_go() -> None:
    text = ruleset.render(1000, Rules({WEB.tap: WEB, DB.tap: DB}, frozenset({"eth0"})))
    lines = text.splitlines()
    assert lines[:3] == [
        "table inet banger_1000",
        "delete table inet banger_1000",
        "table inet banger_1000 {",
    ]
    assert lines[3:11] == [
        f'  set taps {{ type ifname; elements = {{ "{WEB.tap}", "{DB.tap}" }}; }}',
        (
            "  set guests { type ifname . ether_addr . ipv4_addr; elements = { "
            f'"{WEB.tap}" . {WEB.mac} . {WEB.address}, "{DB.tap}" . {DB.mac} . {DB.address} }}; }}'
        ),
        f'  set internet {{ type ifname; elements = {{ "{WEB.tap}" }}; }}',
        f'  set isolated {{ type ifname; elements = {{ "{DB.tap}" }}; }}',
        "  set host { type ifname; }",
        '  set uplinks { type ifname; elements = { "eth0" }; }',
        (
            "  map forwards { type inet_proto . inet_service : ipv4_addr . inet_service; "
            "elements = { tcp . 8080 : 10.208.4.2 . 80, udp . 5353 : 10.208.4.2 . 53 }; }"
        ),
        (
            "  map names { type ifname . ipv4_addr : ipv4_addr . inet_service; "
            f'elements = {{ "{DB.tap}" . 10.208.4.5 : 10.208.4.5 . 10053 }}; }}'
        ),
    ]
    # No rule names a VM: all that differs between VMs is in the sets.
    assert WEB.tap not in "\n".join(lines[11:])


def test_what_differs_between_users_names_the_user() -> None:
    text = ruleset.render(1000, Rules({DB.tap: DB}))
    assert f"ip daddr {ruleset.CANARY} meta skuid 1000 drop" in text
    assert "ct status dnat meta skuid != 1000 drop" in text
    assert "UID" not in text
    assert "CANARY" not in text


@given(st.sets(st.sampled_from([WEB, DB])), st.sets(st.sampled_from(["eth0", "wlan0"])))
def test_what_a_table_holds_is_read_back(guests: set[Guest], uplinks: set[str]) -> None:
    rules = Rules({guest.tap: guest for guest in guests}, frozenset(uplinks))
    assert ruleset.parse(ruleset.content_of(rules)) == rules


@pytest.mark.parametrize("content", [{}, {"taps": {}}, {"guests": {("a",): ()}, "forwards": {}}])
def test_a_table_of_others_is_foreign(content: ruleset.Content) -> None:
    with pytest.raises(CallFailed) as caught:
        ruleset.parse(content)
    assert caught.value.reason == "foreign"


def test_a_change_touches_elements_alone() -> None:
    before = Rules({WEB.tap: WEB}, frozenset({"eth0"}))
    moved = DB.replaced(forwards=("tcp:8080:81",))
    after = Rules({WEB.tap: WEB.replaced(internet=False, forwards=()), DB.tap: moved})
    gone: dict[Parts, Parts] = {
        ("tcp", "8080"): (WEB.address, "80"),
        ("udp", "5353"): (WEB.address, "53"),
    }
    assert ruleset.changes(before, after) == [
        Change("internet", adds=False, elements={(WEB.tap,): ()}),
        Change("uplinks", adds=False, elements={("eth0",): ()}),
        Change("forwards", adds=False, elements=gone),
        Change("taps", adds=True, elements={(DB.tap,): ()}),
        Change("guests", adds=True, elements={(DB.tap, DB.mac, DB.address): ()}),
        Change("isolated", adds=True, elements={(DB.tap,): ()}),
        Change("forwards", adds=True, elements={("tcp", "8080"): (DB.address, "81")}),
        Change("names", adds=True, elements={(DB.tap, DB.gateway): (DB.gateway, "10053")}),
    ]
    assert ruleset.changes(after, after) == []


def test_a_table_of_another_version_is_made_anew() -> None:
    content = dict(ruleset.content_of(Rules()))
    assert ruleset.parse(content).current
    del content[ruleset.MARK]
    assert not ruleset.parse(content).current


def test_a_table_from_before_questions_were_led_is_read() -> None:
    old = dict(ruleset.content_of(Rules({DB.tap: DB})))
    del old["names"]
    assert ruleset.parse(old) == Rules({DB.tap: DB.replaced(dns_port=0)})


def test_the_world_is_let_in_only_where_somebody_asked() -> None:
    assert Rules({WEB.tap: WEB}).routes
    assert not Rules({DB.tap: DB}).routes


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0
   2: odd
   3: 0100007F:XXXX 00000000:0000 0A
"""


def test_only_what_listens_holds_a_port() -> None:
    assert list(listeners.parse(TCP, "0A")) == [8080]


@given(st.text())
def test_odd_tables_are_read(table: str) -> None:
    list(listeners.parse("head\n" + table, "0A"))
