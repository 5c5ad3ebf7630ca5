"""Carries out checked calls; each accepts "already so" and leaves the foreign alone."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from banger.privileged import (
    checks,
    hosts_file,
    kernel_files,
    link_setup,
    nat,
    netlink,
    resolved,
    routes,
    rules_show,
    snapshot,
)
from banger.privileged.calls import (
    Call,
    CallFailed,
    HostsBlockSet,
    NatApply,
    NatClear,
    ResolvedClear,
    ResolvedSet,
    RulesShow,
    SnapshotCall,
    TapCreate,
    TapDelete,
    TapFacts,
    TapRestore,
)
from banger.privileged.jail_calls import JailEnd, JailStart

_NET = Path("/sys/class/net")
#: Fixed places, so that no environment decides what root runs.
_FOLDERS = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")
_PACKAGES = {"nft": "nftables", "resolvectl": "systemd-resolved"}
#: Seconds that one program may take.
_TIMEOUT = 20
#: linux/if_tun.h.
_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_TUNSETOWNER = 0x400454CC
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
#: Fail instead of attaching to an interface that exists.
_IFF_TUN_EXCL = 0x8000
#: Per-interface settings, below /proc/sys/net. A VM reaches the host and, unless asked for
#: otherwise, nothing behind it, whatever the host does for its other interfaces.
_SYSCTLS = (
    ("ipv6/conf/{name}/disable_ipv6", "1"),
    ("ipv4/conf/{name}/forwarding", "0"),
    ("ipv4/conf/{name}/rp_filter", "1"),
    ("ipv4/conf/{name}/accept_redirects", "0"),
    ("ipv4/conf/{name}/send_redirects", "0"),
)


def perform(batch: Sequence[Call], caller_uid: int) -> list[TapFacts]:
    """Check every call, then carry them out in order; one result each.

    Raises ``CallFailed`` at the first that fails; those before it have been carried out.
    """
    for call in batch:
        checks.check(call, caller_uid)
    return [_perform(call, caller_uid) for call in batch]


def _perform(call: Call, caller_uid: int) -> TapFacts:
    try:
        if isinstance(call, SnapshotCall):
            return snapshot.perform(call, caller_uid)
        match call:
            case TapCreate():
                _create(call)
            case TapRestore():
                _restore(call)
            case TapDelete():
                _delete(call)
            case RulesShow():
                return rules_show.show(caller_uid, has_nft=_program("nft") is not None)
            case NatApply():
                _apply_nat(call, caller_uid)
            case NatClear():
                _clear_nat(call, caller_uid)
            case HostsBlockSet():
                hosts_file.set_block(caller_uid, call.entries)
                return TapFacts("hosts", 0, "")
            case JailStart() | JailEnd():
                return _jail(call, caller_uid)
            case ResolvedSet() | ResolvedClear():
                _tell_resolved(call)
        return facts(call.name)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        drive = isinstance(call, SnapshotCall)
        subject = "the VM's root drive" if drive else getattr(call, "name", "hosts")
        text = f"{subject}: {error.strerror or error}{where}"
        raise CallFailed("failed", text) from error


def facts(name: str) -> TapFacts:
    """What stands under the name now, read from the kernel."""
    try:
        folder = f"{_NET}/{name}"
        index = int(kernel_files.value(f"{folder}/ifindex"))
        return TapFacts(name, index, kernel_files.value(f"{folder}/ifalias"))
    except FileNotFoundError:
        return TapFacts(name, 0, "")


def _create(call: TapCreate) -> None:
    found = facts(call.name)
    _refuse_foreign(found, call.alias)
    _refuse_overlap(call)
    if found.index:
        _set_up(call)
        return
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_TUN_EXCL
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", call.name.encode(), flags))
        fcntl.ioctl(tun, _TUNSETOWNER, call.owner_uid)
        _set_up(call)
        # Only now: if we die before, the kernel takes the unfinished interface away with us,
        # and no TAP without our mark is ever left behind.
        fcntl.ioctl(tun, _TUNSETPERSIST, 1)
    finally:
        os.close(tun)


def _set_up(call: TapCreate | TapRestore) -> None:
    for setting, value in _SYSCTLS:
        _set_sysctl(f"/proc/sys/net/{setting.format(name=call.name)}", value)
    index = facts(call.name).index
    host = checks.host_network(call.host_address)
    link_setup.set_up(
        link_setup.requests(index, call.alias, host, call.guest_address, call.guest_mac)
    )


def _restore(call: TapRestore) -> None:
    found = facts(call.name)
    _refuse_foreign(found, call.alias)
    if found.index:
        _set_up(call)


def _delete(call: TapDelete) -> None:
    found = facts(call.name)
    _refuse_foreign(found, call.alias)
    if found.index:
        netlink.delete_link(found.index)


def _refuse_foreign(found: TapFacts, alias: str) -> None:
    if found.index and found.alias != alias:
        mark = f"carries the mark {found.alias!r}" if found.alias else "carries no mark"
        raise CallFailed("foreign", f"the interface {found.name} exists and {mark}")


def _refuse_overlap(call: TapCreate) -> None:
    network = checks.host_network(call.host_address).network
    table = Path("/proc/net/route").read_text()
    for route in routes.parse_routes(table):
        default = route.network == ipaddress.IPv4Network("0.0.0.0/0")
        if route.interface != call.name and not default and route.network.overlaps(network):
            raise CallFailed(
                "foreign", f"{network} is in use: {route.network} goes to {route.interface}"
            )


def _set_sysctl(path: str, value: str) -> None:
    try:
        if kernel_files.value(path) == value:
            return
    except FileNotFoundError:
        return  # a kernel without IPv6 has nothing to switch off
    kernel_files.change(path, value)


def _apply_nat(call: NatApply, caller_uid: int) -> None:
    found = facts(call.name)
    _refuse_foreign(found, call.alias)
    if not found.index:
        raise CallFailed("failed", f"there is no interface {call.name}")
    network = ipaddress.IPv4Network((call.guest_address, checks.PREFIX_LENGTH), strict=False)
    table = Path("/proc/net/route").read_text()
    if (network, call.name) not in [(r.network, r.interface) for r in routes.parse_routes(table)]:
        raise CallFailed("refused", f"{call.guest_address} is not behind {call.name}")
    if not (call.internet or call.forwards) and _program("nft") is None:
        return  # nothing passes between this guest and others then, which is safe
    nat.apply(call, caller_uid, _run_nft)


def _clear_nat(call: NatClear, caller_uid: int) -> None:
    _refuse_foreign(facts(call.name), call.alias)
    if _program("nft") is not None:
        nat.clear(call, caller_uid, _run_nft)


def _tell_resolved(call: ResolvedSet | ResolvedClear) -> None:
    found = facts(call.name)
    _refuse_foreign(found, call.alias)
    resolved.tell(call, found.index, lambda arguments: _run("resolvectl", arguments, ""))


def _jail(call: JailStart | JailEnd, caller_uid: int) -> TapFacts:
    # Imported here because few calls need it, and it is a fifth of the time to start.
    from banger.privileged import jail

    if isinstance(call, JailEnd):
        return jail.end(call, caller_uid)
    if call.tap:
        found = facts(call.name)
        _refuse_foreign(found, call.alias)
        if not found.index:
            raise CallFailed("failed", f"there is no interface {call.name}")
    return jail.start(call, caller_uid, _run_inside)


def _run_inside(request: str) -> str:
    """The inner side of a jail: a Python of its own, since it changes all that a process is."""
    source = Path(__file__).parents[2]
    script = (
        f"import sys; sys.path.insert(0, {str(source)!r})\n"
        "from banger.privileged import execute, jail_inside\n"
        "sys.exit(jail_inside.main(sys.stdin.buffer, execute.run_detached))\n"
    )
    return _run_program([sys.executable, "-IBSc", script], request, "the jail")


def run_detached(argv: Sequence[str], streams: tuple[int, int, int]) -> int:
    """Run a program whose children outlive us, in a session of its own; its exit status."""
    stdin, stdout, stderr = streams
    done = subprocess.run(
        argv,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env={},
        cwd="/",
        start_new_session=True,
        timeout=_TIMEOUT,
        check=False,
    )
    return done.returncode


def _run_nft(text: str) -> str:
    return _run("nft", ("-f", "-"), text)


def _program(name: str) -> str | None:
    paths = (f"{folder}/{name}" for folder in _FOLDERS)
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def _run(name: str, arguments: tuple[str, ...], text: str) -> str:
    program = _program(name)
    if program is None:
        package = _PACKAGES[name]
        raise CallFailed("failed", f"the program {name} is missing (Debian package {package})")
    return _run_program([program, *arguments], text, name)


def _run_program(argv: Sequence[str], text: str, name: str) -> str:
    try:
        done = subprocess.run(
            argv,
            input=text.encode(),
            env={"PATH": ":".join(_FOLDERS), "LC_ALL": "C"},
            cwd="/",
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CallFailed("failed", f"{name} did not end within {_TIMEOUT} s") from error
    if done.returncode != 0:
        raise CallFailed("failed", f"{name}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace")
