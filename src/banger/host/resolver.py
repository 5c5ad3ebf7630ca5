"""Decides how the host's own programs learn the names of VMs, and says why not."""

from __future__ import annotations

from pathlib import Path

from banger.errors import HostNotReady
from banger.host.choice import AUTO, Chosen
from banger.host.command import find_program
from banger.host.finding import Check, Status
from banger.host.privilege import Privilege
from banger.privileged import hosts_file

_RESOLVED = Path("/run/systemd/resolve/resolv.conf")
_RESOLV_CONF = Path("/etc/resolv.conf")
_NSSWITCH = Path("/etc/nsswitch.conf")
#: The addresses of systemd-resolved's own listeners.
_STUBS = ("127.0.0.53", "127.0.0.54")


def wiring_of_host(wanted: str, uid: int) -> Chosen:
    """What the setting ``names`` means on this host: ``resolved``, ``hosts`` or nothing."""
    return choose(
        wanted,
        resolved=resolved_is_asked(),
        privileged=Privilege().available(),
        others=sorted(hosts_file.owners(_text(hosts_file.HOSTS).encode()) - {uid}),
    )


def choose(wanted: str, *, resolved: bool, privileged: bool, others: list[int]) -> Chosen:
    """The choice (pure). ``others`` are users whose names are in the hosts file."""
    if wanted == "off":
        return Chosen("", "the setting names is off")
    if not privileged:
        return Chosen("", "only root can tell the resolver, and banger has no root side here")
    if wanted == "resolved" or (wanted == AUTO and resolved):
        return Chosen("resolved", "programs ask systemd-resolved, which is told about .vm")
    if others:
        return Chosen("hosts", f"the names of user {others[0]} are in {hosts_file.HOSTS}")
    return Chosen("hosts", f"lines of banger's own in {hosts_file.HOSTS}")


def names_check(wanted: str, uid: int) -> Check:
    """Doctor's look: whether ``getent hosts NAME.vm`` will find a running VM here."""
    name, purpose, needed_for = "names", "lets NAME.vm lead to a VM", "names of VMs"
    chosen = wiring_of_host(wanted, uid)
    taken = chosen.name == "hosts" and bool(
        hosts_file.owners(_text(hosts_file.HOSTS).encode()) - {uid}
    )
    if chosen.name and not taken:
        return Check(name, purpose, Status.OK, f"{chosen.name}: {chosen.reason}", "", needed_for)
    if wanted == "off":
        mend = 'set names = "auto" in config.toml, then banger daemon restart'
    elif taken:
        mend = "banger daemon logs tells which server to ask; the VMs' addresses work as well"
    else:
        mend = "sudo banger setup, or use the VMs' addresses"
    return Check(name, purpose, Status.WARN, chosen.reason, mend, needed_for)


def resolved_is_asked() -> bool:
    """Whether systemd-resolved runs, and this host's programs ask it."""
    if not _RESOLVED.exists():
        return False
    try:
        find_program("resolvectl")
    except HostNotReady:
        return False
    return asks_resolved(_text(_NSSWITCH), _text(_RESOLV_CONF))


def asks_resolved(nsswitch: str, resolv_conf: str) -> bool:
    """Whether lookups go to systemd-resolved by these two files."""
    hosts = [line.split() for line in nsswitch.splitlines() if line.startswith("hosts:")]
    servers = [words[1:2] for line in resolv_conf.splitlines() if (words := line.split())]
    return any("resolve" in words for words in hosts) or any([s] in servers for s in _STUBS)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
