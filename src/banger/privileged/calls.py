"""The closed catalogue of what the root side does, and its form as JSON."""

from __future__ import annotations

from collections.abc import Mapping

from banger.privileged.frozen import Frozen
from banger.privileged.jail_calls import JailEnd, JailStart

#: Both sides compare it: a mismatch is an error, never a guess.
CATALOGUE_VERSION = 3


class TapCreate(Frozen):
    """Make a TAP owned by ``owner_uid``, marked with ``alias``, up and addressed.

    ``host_address`` is the host's end with its prefix length (``10.208.0.1/30``). The guest
    at ``guest_address`` is entered as a permanent neighbour, so that nobody waits for ARP.
    """

    name: str
    owner_uid: int
    alias: str
    host_address: str
    guest_address: str
    guest_mac: str


class TapRestore(Frozen):
    """Mark, address and raise a TAP again as ``TapCreate`` had; one that is gone stays gone."""

    name: str
    alias: str
    host_address: str
    guest_address: str
    guest_mac: str


class TapDelete(Frozen):
    """Remove the TAP ``name`` if it carries exactly ``alias``."""

    name: str
    alias: str


class TapShow(Frozen):
    """Say what stands under the name ``name``."""

    name: str


class NatApply(Frozen):
    """Let packets of the TAP ``name`` pass as said here, in place of what was said before.

    Only packets from ``guest_mac`` and ``guest_address`` are taken from it at all. Its guest
    reaches the host by ping and DNS, with ``host`` by everything; the same user's other guests
    unless one of the two is ``isolated``; with ``internet`` whatever the host reaches.
    ``forwards`` are ports of the host that lead to it, as ``tcp:8080:80``. With ``dns_port``
    its questions to port 53 of its gateway arrive at that port there; 0 leaves them alone.
    """

    name: str
    alias: str
    guest_address: str
    guest_mac: str
    internet: bool
    isolated: bool
    host: bool
    forwards: tuple[str, ...]
    dns_port: int


class NatClear(Frozen):
    """Forget all that was said about the TAP ``name``; the last one takes the table along."""

    name: str
    alias: str


class RulesShow(Frozen):
    """Say what the caller's table holds: ``TAP=FINGERPRINT`` for each guest, as the alias.

    The index is 1 for a table as this program makes it, 0 for another or none, -1 where
    there can be none for want of nft.
    """


class HostsBlockSet(Frozen):
    """Let the caller's block in the hosts file hold exactly ``entries`` (``ADDRESS NAME.vm``).

    Without entries the block goes.
    """

    entries: tuple[str, ...]


class ResolvedSet(Frozen):
    """Let systemd-resolved ask ``server`` (``127.0.0.153:53``) for ``.vm`` through a TAP."""

    name: str
    alias: str
    server: str


class ResolvedClear(Frozen):
    """Let systemd-resolved forget what it was told about the TAP ``name``."""

    name: str
    alias: str


class SnapshotProbe(Frozen):
    """Say with which versions of device-mapper snapshots can be made here."""


class SnapshotAttach(Frozen):
    """Make the device of the caller's VM: the file ``image``, changed by what ``layer`` holds.

    The files are opened with the caller's own rights. A layer that has grown is taken up in
    its new size, also under a device that is in use.
    """

    vm_id: str
    image: str
    layer: str


class SnapshotDetach(Frozen):
    """Remove the device of the caller's VM and what lies below; both files stay."""

    vm_id: str


NameCall = HostsBlockSet | ResolvedSet | ResolvedClear
SnapshotCall = SnapshotProbe | SnapshotAttach | SnapshotDetach
JailCall = JailStart | JailEnd
TapCall = TapCreate | TapRestore | TapDelete | TapShow
NetworkCall = TapCall | RulesShow | NatApply | NatClear
Call = NetworkCall | NameCall | SnapshotCall | JailCall
CATALOGUE: dict[str, type[Call]] = {
    "tap_create": TapCreate,
    "tap_restore": TapRestore,
    "tap_delete": TapDelete,
    "tap_show": TapShow,
    "rules_show": RulesShow,
    "nat_apply": NatApply,
    "nat_clear": NatClear,
    "hosts_block_set": HostsBlockSet,
    "resolved_set": ResolvedSet,
    "resolved_clear": ResolvedClear,
    "snapshot_probe": SnapshotProbe,
    "snapshot_attach": SnapshotAttach,
    "snapshot_detach": SnapshotDetach,
    "jail_start": JailStart,
    "jail_end": JailEnd,
}
_NAMES = {cls: name for name, cls in CATALOGUE.items()}
_FIELD_TYPES = {"str": str, "int": int, "bool": bool, "tuple[str, ...]": tuple}


class TapFacts(Frozen):
    """The answer to each call on a TAP. ``index`` is 0 and ``alias`` empty where none exists.

    Of a VM's root drive, ``index`` is the device's number and ``alias`` its uuid; the answer to
    a probe has the versions there.
    Of a jail the ``index`` is the pid of Firecracker.
    """

    name: str
    index: int
    alias: str


class CallFailed(Exception):
    """A call that was not carried out.

    ``reason`` is ``malformed`` (no such call), ``refused`` (against the rules), ``foreign``
    (something that is not ours stands in the way) or ``failed`` (the kernel or a program).
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


def call_to_json(call: Call) -> dict[str, object]:
    """The call as JSON values."""
    return {"call": _NAMES[type(call)], **call.as_dict()}


def call_from_json(data: object) -> Call:
    """The call in ``data``; raises ``CallFailed`` for anything that is not exactly one."""
    if not isinstance(data, Mapping):
        raise CallFailed("malformed", "a call is an object")
    name = data.get("call")
    cls = CATALOGUE.get(name) if isinstance(name, str) else None
    if cls is None:
        raise CallFailed("malformed", f"there is no call {name!r}")
    values = {key: value for key, value in data.items() if key != "call"}
    wanted = {field: _FIELD_TYPES[kind] for field, kind in cls.fields().items()}
    for key, value in values.items():
        if type(value) is list and all(type(item) is str for item in value):
            values[key] = tuple(value)  # JSON has lists only
    if values.keys() != wanted.keys():
        raise CallFailed("malformed", f"{name} takes exactly {', '.join(wanted)}")
    for key, kind in wanted.items():
        # type() and not isinstance(): true and false are integers to the latter.
        if type(values[key]) is not kind:
            raise CallFailed("malformed", f"{key} of {name} must be of type {kind.__name__}")
    return cls(**values)
