from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banger.privileged.calls import (
    CATALOGUE,
    Call,
    CallFailed,
    HostsBlockSet,
    NatApply,
    NatClear,
    ResolvedClear,
    ResolvedSet,
    RulesShow,
    SnapshotAttach,
    SnapshotDetach,
    SnapshotProbe,
    TapCreate,
    TapDelete,
    TapRestore,
    TapShow,
    call_from_json,
    call_to_json,
)
from banger.privileged.checks import check
from banger.privileged.jail_calls import JailEnd, JailStart

ID = "0123456789ab"
CREATE = TapCreate(
    name=f"bgr{ID}",
    owner_uid=1000,
    alias=f"banger:1000:{ID}",
    host_address="10.208.4.1/30",
    guest_address="10.208.4.2",
    guest_mac="02:11:22:33:44:55",
)
DELETE = TapDelete(f"bgr{ID}", f"banger:1000:{ID}")
RESTORE = TapRestore(
    name=f"bgr{ID}",
    alias=f"banger:1000:{ID}",
    host_address="10.208.4.1/30",
    guest_address="10.208.4.2",
    guest_mac="02:11:22:33:44:55",
)
SHOW = TapShow(f"bgr{ID}")
APPLY = NatApply(
    name=f"bgr{ID}",
    alias=f"banger:1000:{ID}",
    guest_address="10.208.4.2",
    guest_mac="02:11:22:33:44:55",
    internet=True,
    isolated=False,
    host=False,
    forwards=("tcp:8080:80", "udp:5353:53"),
    dns_port=10053,
)
CLEAR = NatClear(f"bgr{ID}", f"banger:1000:{ID}")
HOSTS = HostsBlockSet(("10.208.4.2 web.vm",))
RESOLVED = ResolvedSet(f"bgr{ID}", f"banger:1000:{ID}", "127.0.0.153:53")
UNRESOLVED = ResolvedClear(f"bgr{ID}", f"banger:1000:{ID}")
ATTACH = SnapshotAttach(ID, "/images/rootfs.ext4", f"/vms/{ID}/root.cow")
SNAPSHOTS = [SnapshotProbe(), ATTACH, SnapshotDetach(ID)]
JAIL = JailStart(
    name=f"bgr{ID}",
    alias=f"banger:1000:{ID}",
    vcpus=2,
    memory_mib=512,
    tap=True,
    firecracker="/p/firecracker",
    jailer="/p/jailer",
    kernel="/s/kernel",
    initrd="/s/initrd",
    drives=("rw:root:/s/layer of: mine", "ro:base_1:/dev/dm-0"),
    log="/s/log",
    metrics="/s/metrics",
    console_input="/r/in",
    console_log="/s/console",
    errors="/r/errors",
)
UNJAIL = JailEnd(f"bgr{ID}", f"banger:1000:{ID}")
TAPS = [CREATE, RESTORE, DELETE, SHOW, RulesShow(), APPLY, CLEAR]
ALL = [*TAPS, HOSTS, RESOLVED, UNRESOLVED, *SNAPSHOTS, JAIL, UNJAIL]


@pytest.mark.parametrize("call", ALL)
def test_calls_survive_json(call: Call) -> None:
    assert call_from_json(json.loads(json.dumps(call_to_json(call)))) == call


def test_the_catalogue_is_whole() -> None:
    assert {type(call) for call in ALL} == set(CATALOGUE.values())


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"call": "reboot"},
        {"call": None},
        {"call": ["tap_show"]},
        {"call": "tap_show"},
        {"call": "tap_show", "name": 5},
        {"call": "tap_show", "name": "bgr0", "more": 1},
        {**call_to_json(CREATE), "owner_uid": True},
        {**call_to_json(CREATE), "owner_uid": "0"},
        {**call_to_json(APPLY), "internet": 1},
        {**call_to_json(APPLY), "internet": "true"},
        {**call_to_json(APPLY), "dns_port": "10053"},
        {**call_to_json(APPLY), "forwards": "tcp:8080:80"},
        {**call_to_json(APPLY), "forwards": [8080]},
        {**call_to_json(APPLY), "forwards": [["tcp:8080:80"]]},
        {**call_to_json(APPLY), "name": ["bgr0"]},
    ],
)
def test_malformed_calls_are_refused(data: object) -> None:
    with pytest.raises(CallFailed) as caught:
        call_from_json(data)
    assert caught.value.reason == "malformed"


KEYS = st.sampled_from(["call", "name", "alias", "x"])
VALUES = st.sampled_from(["tap_show", "tap_delete", "bgr0"]) | st.integers() | st.none()


@given(VALUES | st.dictionaries(KEYS, VALUES) | st.lists(st.dictionaries(KEYS, VALUES)))
def test_any_json_is_a_call_or_refused(data: object) -> None:
    try:
        call = call_from_json(data)
    except CallFailed:
        return
    assert call_to_json(call) == data


@pytest.mark.parametrize("call", ALL)
def test_proper_calls_pass(call: Call) -> None:
    check(call, 1000)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "eth0"),
        ("name", "bgr0123456789AB"),
        ("name", f"bgr{ID}\n"),
        ("name", f"bgr{ID}c"),
        ("name", "../../etc"),
        ("name", ""),
        ("owner_uid", 0),
        ("owner_uid", -1),
        ("owner_uid", 1001),
        ("alias", ""),
        ("alias", f"banger:0:{ID}"),
        ("alias", f"banger:1001:{ID}"),
        ("alias", "banger:1000:ba9876543210"),
        ("alias", f"banger:1000:{ID}\nlink delete eth0"),
        ("host_address", "10.208.4.1"),
        ("host_address", "10.208.4.1/24"),
        ("host_address", "10.208.4.1/030"),
        ("host_address", "10.208.4.2/30"),
        ("host_address", "8.8.8.9/30"),
        ("host_address", "127.0.0.1/30"),
        ("host_address", "169.254.169.253/30"),
        ("host_address", "10.208.4.1/30 dev eth0"),
        ("host_address", "10.208.04.1/30"),
        ("host_address", "10.208.4.257/30"),
        ("guest_address", "10.208.4.1"),
        ("guest_address", "10.208.4.3"),
        ("guest_address", "10.208.5.2"),
        ("guest_address", "::1"),
        ("guest_address", ""),
        ("guest_mac", ""),
        ("guest_mac", "00:11:22:33:44:55"),
        ("guest_mac", "03:11:22:33:44:55"),
        ("guest_mac", "02:11:22:33:44"),
        ("guest_mac", "02:11:22:33:44:55 nud permanent"),
        ("guest_mac", "02:11:22:33:44:5G"),
    ],
)
def test_improper_values_are_refused(field: str, value: object) -> None:
    with pytest.raises(CallFailed) as caught:
        check(CREATE.replaced(**{field: value}), 1000)
    assert caught.value.reason == "refused"
    if field != "owner_uid":
        with pytest.raises(CallFailed):
            check(RESTORE.replaced(**{field: value}), 1000)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "eth0"),
        ("alias", f"banger:1001:{ID}"),
        ("guest_address", "10.208.4.1"),
        ("guest_address", "10.208.4.2/30"),
        ("guest_address", "8.8.8.10"),
        ("guest_address", "10.208.4.2 }; flush ruleset"),
        ("guest_mac", "ff:ff:ff:ff:ff:ff"),
        ("forwards", ("tcp:8080:80", "tcp:8080:81")),
        ("forwards", ("tcp:22:22",)),
        ("forwards", ("tcp:65536:22",)),
        ("forwards", ("tcp:08080:22",)),
        ("forwards", ("sctp:8080:80",)),
        ("forwards", ("tcp:8080:80 }; flush ruleset",)),
        ("forwards", ("tcp:8080:80\n",)),
        ("forwards", tuple(f"tcp:{port}:80" for port in range(2000, 2300))),
        ("dns_port", 53),
        ("dns_port", 1023),
        ("dns_port", -1),
        ("dns_port", 65536),
    ],
)
def test_improper_rules_are_refused(field: str, value: object) -> None:
    with pytest.raises(CallFailed) as caught:
        check(APPLY.replaced(**{field: value}), 1000)
    assert caught.value.reason == "refused"


def test_root_publishes_low_ports() -> None:
    check(APPLY.replaced(alias=f"banger:0:{ID}", forwards=("tcp:80:80",)), 0)


@pytest.mark.parametrize("call", [DELETE, APPLY, CLEAR, RESTORE])
def test_nobody_works_for_another_user(call: Call) -> None:
    for user in (1001, 0):
        with pytest.raises(CallFailed):
            check(call, user)


ANY_TEXT = st.text(max_size=30)


@given(
    st.builds(
        TapCreate,
        name=st.just(CREATE.name) | ANY_TEXT,
        owner_uid=st.just(1000) | st.integers(),
        alias=st.just(CREATE.alias) | ANY_TEXT,
        host_address=st.just(CREATE.host_address) | ANY_TEXT,
        guest_address=st.just(CREATE.guest_address) | ANY_TEXT,
        guest_mac=st.just(CREATE.guest_mac) | ANY_TEXT,
    )
)
def test_nothing_but_the_proper_form_passes(call: TapCreate) -> None:
    try:
        check(call, 1000)
    except CallFailed:
        return
    assert call.replaced(guest_mac=CREATE.guest_mac) == CREATE


@pytest.mark.parametrize(
    "values",
    [
        {"name": "eth0"},
        {"name": f"bgr{ID}/../x"},
        {"alias": f"banger:1001:{ID}"},
        {"alias": f"banger:0:{ID}"},
        {"vcpus": 0},
        {"vcpus": 33},
        {"memory_mib": 0},
        {"memory_mib": 2**40},
        {"firecracker": "firecracker"},
        {"firecracker": ""},
        {"jailer": "/p/../jailer"},
        {"kernel": "/s//kernel"},
        {"kernel": "/s/kernel/."},
        {"kernel": "/"},
        {"initrd": "-"},
        {"log": "/s/\0log"},
        {"metrics": "/" + "x" * 4096},
        {"console_input": ""},
        {"console_log": ""},
        {"errors": "./errors"},
        {"drives": ("/s/layer",)},
        {"drives": ("rx:root:/s/layer",)},
        {"drives": ("rw:ro/ot:/s/layer",)},
        {"drives": ("rw:..:/s/layer",)},
        {"drives": ("rw:root:layer",)},
        {"drives": ("rw:root:/s/a", "ro:root:/s/b")},
        {"drives": tuple(f"ro:d{number}:/s/a" for number in range(17))},
    ],
)
def test_odd_jails_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(CallFailed) as caught:
        check(JAIL.replaced(**values), 1000)
    assert caught.value.reason == "refused"


@pytest.mark.parametrize("alias", [f"banger:0:{ID}", "banger:1000:ba9876543210", ""])
def test_nobody_ends_the_jail_of_another(alias: str) -> None:
    with pytest.raises(CallFailed):
        check(UNJAIL.replaced(alias=alias), 1000)


def test_root_alone_gives_interfaces_to_others() -> None:
    roots = CREATE.replaced(alias=f"banger:0:{ID}", owner_uid=65534)
    check(roots, 0)
    for owner in (-1, 2**32):
        with pytest.raises(CallFailed):
            check(roots.replaced(owner_uid=owner), 0)
