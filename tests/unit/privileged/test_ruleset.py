"""The table as text, and as it is read back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.privileged import listeners, ruleset
from banger.privileged.calls import CallFailed
from banger.privileged.ruleset import Guest, Rules

WEB = Guest(
    tap="bgr0123456789ab",
    mac="02:11:22:33:44:55",
    address="10.208.4.2",
    internet=True,
    forwards=("tcp:8080:80", "udp:5353:53"),
)
DB = Guest("bgrba9876543210", "02:11:22:33:44:66", "10.208.4.6", isolated=True, dns_port=10053)


def listing(rules: Rules) -> str:
    """What nft prints of a table with these rules."""
    sets: dict[str, list[object]] = {
        "taps": list(rules.guests),
        "guests": [{"concat": [g.tap, g.mac, g.address]} for g in rules.guests.values()],
        "internet": [g.tap for g in rules.guests.values() if g.internet],
        "isolated": [g.tap for g in rules.guests.values() if g.isolated],
        "host": [g.tap for g in rules.guests.values() if g.host],
        "uplinks": list(rules.uplinks),
    }
    entries: list[object] = [{"table": {"name": "banger_0"}}]
    entries += [
        {"set": {"name": name, **({"elem": elements} if elements else {})}}
        for name, elements in sets.items()
    ]
    forwards = [
        [{"concat": [protocol, int(outer)]}, {"concat": [guest.address, int(inner)]}]
        for guest in rules.guests.values()
        for protocol, outer, inner in (text.split(":") for text in guest.forwards)
    ]
    entries.append({"map": {"name": "forwards", "elem": forwards}})
    names = [
        [{"concat": [guest.tap, guest.gateway]}, {"concat": [guest.gateway, guest.dns_port]}]
        for guest in rules.guests.values()
        if guest.dns_port
    ]
    entries.append({"map": {"name": "names", "elem": names}})
    return json.dumps({"nftables": entries})


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


@given(st.sets(st.sampled_from([WEB, DB])), st.sets(st.sampled_from(["eth0", "wlan0"])))
def test_what_nft_lists_is_read_back(guests: set[Guest], uplinks: set[str]) -> None:
    rules = Rules({guest.tap: guest for guest in guests}, frozenset(uplinks))
    assert ruleset.parse(listing(rules)) == rules


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"nftables": [{"table": {}}]}', "null"])
def test_a_table_of_others_is_foreign(text: str) -> None:
    with pytest.raises(CallFailed) as caught:
        ruleset.parse(text)
    assert caught.value.reason == "foreign"


def test_a_change_touches_elements_alone() -> None:
    before = Rules({WEB.tap: WEB}, frozenset({"eth0"}))
    moved = replace(DB, forwards=("tcp:8080:81",))
    after = Rules({WEB.tap: replace(WEB, internet=False, forwards=()), DB.tap: moved})
    assert ruleset.render_change(0, before, after).splitlines() == [
        f'delete element inet banger_0 internet {{ "{WEB.tap}" }}',
        'delete element inet banger_0 uplinks { "eth0" }',
        "delete element inet banger_0 forwards { tcp . 8080, udp . 5353 }",
        f'add element inet banger_0 taps {{ "{DB.tap}" }}',
        f'add element inet banger_0 guests {{ "{DB.tap}" . {DB.mac} . {DB.address} }}',
        f'add element inet banger_0 isolated {{ "{DB.tap}" }}',
        "add element inet banger_0 forwards { tcp . 8080 : 10.208.4.6 . 81 }",
        f'add element inet banger_0 names {{ "{DB.tap}" . 10.208.4.5 : 10.208.4.5 . 10053 }}',
    ]
    assert ruleset.render_change(0, after, after) == ""


def test_a_table_of_another_version_is_made_anew() -> None:
    assert not ruleset.parse(listing(Rules())).current
    marked = listing(Rules()).replace(
        '"isolated"', f'"isolated"}}}}, {{"set": {{"name": "{ruleset.MARK}"'
    )
    assert ruleset.parse(marked).current


def test_a_table_from_before_questions_were_led_is_read() -> None:
    old = json.loads(listing(Rules({DB.tap: DB})))
    old["nftables"] = [e for e in old["nftables"] if e.get("map", {}).get("name") != "names"]
    assert ruleset.parse(json.dumps(old)) == Rules({DB.tap: replace(DB, dns_port=0)})


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
