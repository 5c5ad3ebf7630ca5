"""Renders a VM's identity as the archive that travels behind the image's initrd (pure).

It holds our init, a file that init's shell reads, files for the root file system, and a tree
for ``/run``: masked units, our own units and the agent. So every boot uses the guest side of
the banger that starts the VM, whatever banger built the image.
"""

from __future__ import annotations

import ipaddress
import re
import shlex

from banger.drivers.guest.base import Identity
from banger.drivers.guest.dropbear import dropbear_key
from banger.drivers.guest.guest_files import compiled, guest_file
from banger.drivers.guest.profiles import FAST, FAST_GENERATORS, check_profile, masked_units
from banger.errors import InvalidInput
from banger.host import cpio

#: Labels of letters, digits and '-', as sethostname(2) and hosts(5) bear them.
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?\Z")
_MACHINE_ID = re.compile(r"[0-9a-f]{32}\Z")
_AGENT = tuple(
    f"agent/{name}.py"
    for name in (
        "__init__",
        "main",
        "loop",
        "listening",
        "port",
        "vsock",
        "command",
        "machine",
        "text",
    )
)
#: Commands that a busybox brings for images that lack them.
_TOOLS = (
    *("awk", "cat", "chmod", "cp", "date", "df", "dmesg", "du", "env", "find", "free", "grep"),
    *("gzip", "head", "hostname", "id", "ifconfig", "ip", "kill", "less", "ln", "ls", "mkdir"),
    *("mount", "mv", "nc", "ping", "poweroff", "ps", "reboot", "rm", "route", "sed", "sh", "sleep"),
    *("sort", "stat", "tail", "tar", "top", "umount", "uname", "vi", "wc", "wget", "which"),
)
_CACHE = "banger/run/banger/agent/__pycache__"
_UNITS = "banger/run/systemd/system"
_GENERATOR = "banger/run/systemd/system-generators/systemd-{}-generator"


def identity_archive(identity: Identity, *, now: int) -> bytes:
    """The archive. ``now`` (Unix seconds) becomes the guest's clock if it has none.

    Raises ``InvalidInput`` for an identity that would break the files it is written into.
    """
    _check(identity)
    entries = [
        cpio.file("init", guest_file("init"), 0o755),
        cpio.file("settle", guest_file("settle")),
        cpio.file("banger/shell_init", guest_file("shell_init"), 0o755),
        cpio.file("banger/identity", settings_text(identity, now).encode(), 0o600),
        cpio.file("banger/etc/hostname", f"{identity.hostname}\n".encode()),
        cpio.file("banger/etc/machine-id", f"{identity.machine_id}\n".encode(), 0o444),
        cpio.file("banger/etc/resolv.conf", resolver_text(identity).encode()),
        cpio.file("banger/hosts", hosts_text(identity).encode()),
        cpio.file("banger/authorized_key", _line(identity.authorized_key), 0o600),
        cpio.file("banger/ssh/ssh_host_ed25519_key", _line(identity.host_key), 0o600),
        cpio.file("banger/ssh/ssh_host_ed25519_key.pub", _line(identity.host_public_key)),
        *_dropbear_key(identity.host_key),
        *(cpio.link(f"banger/tools/{name}", "../busybox") for name in _TOOLS),
        *_run_tree(identity.profile),
    ]
    return cpio.archive(cpio.with_folders(entries))


def settings_text(identity: Identity, now: int) -> str:
    """What init's shell reads: one assignment a line, every value quoted."""
    lease = identity.lease
    values = {
        "HOSTNAME": identity.hostname,
        "ADDRESS": lease.address,
        "PREFIX": str(lease.prefix_length),
        "GATEWAY": lease.gateway,
        "PROFILE": identity.profile,
        "WORK_DISK": "1" if identity.work_disk else "",
        "CLOCK": str(now),
        "GENERATORS": " ".join(f"{name}:{file}" for name, file in FAST_GENERATORS.items() if file),
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def hosts_text(identity: Identity) -> str:
    """The lines of /etc/hosts that are ours; init marks them and leaves all others alone."""
    name = identity.hostname
    short = name.partition(".")[0]
    names = name if short == name else f"{name} {short}"
    return (
        "127.0.0.1 localhost\n"
        f"127.0.1.1 {names}\n"
        "::1 localhost ip6-localhost ip6-loopback\n"
        "ff02::1 ip6-allnodes\n"
        "ff02::2 ip6-allrouters\n"
    )


def resolver_text(identity: Identity) -> str:
    """The guest's /etc/resolv.conf."""
    servers = identity.lease.nameservers
    lines = [f"nameserver {server}\n" for server in servers]
    return "# written by banger at each boot\n" + "".join(lines)


def _run_tree(profile: str) -> list[cpio.Entry]:
    entries = [cpio.link(f"{_UNITS}/{unit}", "/dev/null") for unit in masked_units(profile)]
    entries += [
        cpio.file("banger/run/banger/start_agent.py", guest_file("start_agent.py")),
        *(cpio.file(f"banger/run/banger/{name}", guest_file(name)) for name in _AGENT),
        *(cpio.file(f"{_CACHE}/{file}", code) for file, code in map(compiled, _AGENT)),
        cpio.file("banger/run/banger/adopt", guest_file("adopt"), 0o755),
        *(_unit("banger-agent.service"), _wanted("multi-user.target", "banger-agent.service")),
        *(
            _unit("serial-getty@.service"),
            _wanted("getty.target", "serial-getty@ttyS0.service", "serial-getty@.service"),
        ),
    ]
    if profile == FAST:
        entries += [cpio.link(_GENERATOR.format(name), "/dev/null") for name in FAST_GENERATORS]
        journal = "banger/run/systemd/journald.conf.d/banger.conf"
        entries.append(cpio.file(journal, guest_file("journald.conf")))
        # This file shuts out ordinary users until systemd-user-sessions, here masked, has run.
        entries.append(cpio.link("banger/run/tmpfiles.d/systemd-nologin.conf", "/dev/null"))
        drop_in = f"{_UNITS}/ssh.service.d/banger.conf"
        entries.append(cpio.file(drop_in, guest_file("ssh-early.conf")))
    return entries


def _dropbear_key(host_key: str) -> list[cpio.Entry]:
    key = dropbear_key(host_key)
    return [cpio.file("banger/ssh/dropbear_ed25519_host_key", key, 0o600)] if key else []


def _unit(name: str) -> cpio.Entry:
    return cpio.file(f"{_UNITS}/{name}", guest_file(name))


def _wanted(target: str, name: str, template: str = "") -> cpio.Entry:
    return cpio.link(f"{_UNITS}/{target}.wants/{name}", f"../{template or name}")


def _line(text: str) -> bytes:
    return f"{text.rstrip()}\n".encode()


def _check(identity: Identity) -> None:
    check_profile(identity.profile)
    if not _HOSTNAME.match(identity.hostname):
        raise _illegal("hostname", identity.hostname)
    if not _MACHINE_ID.match(identity.machine_id):
        raise _illegal("machine id", identity.machine_id)
    for title, line in (
        ("authorized key", identity.authorized_key),
        ("public host key", identity.host_public_key),
    ):
        if not line.strip() or not line.strip().isprintable():
            raise _illegal(title, line)
    lease = identity.lease
    # Without a gateway the guest reaches its own subnet only.
    gateways = (lease.gateway,) if lease.gateway else ()
    for address in (lease.address, *gateways, *lease.nameservers):
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise _illegal("address", address) from error


def _illegal(title: str, value: str) -> InvalidInput:
    return InvalidInput(
        f"the {title} {value!r} cannot be given to a guest",
        cause="it is malformed",
        resolution="banger show --json, and report it if banger itself chose this value",
    )
