"""The files by which OpenSSH finds every VM and knows its host key; true after each change."""

from __future__ import annotations

from banger.drivers.guest.base import SSHHost
from banger.host import files
from banger.model.vm import VM
from banger.naming import dns_name, host_key_alias
from banger.service.context import Context

#: Who we are in a guest.
USER = "root"


def write_ssh_files(context: Context) -> None:
    """Rewrite our known_hosts and our part of OpenSSH's configuration from all VMs' rows.

    A VM is in them from its creation to its deletion: its address, port and host key stay.
    """
    entries, hosts = {}, []
    for vm in context.vms.all():
        private = context.paths.host_key(vm.id)
        public = private.with_name(private.name + ".pub")
        if public.is_file():
            alias = host_key_alias(vm.id)
            entries[alias] = public.read_text(encoding="ascii").strip()
            hosts.append(SSHHost(dns_name(vm.name), vm.lease.ssh_host, vm.lease.ssh_port, alias))
    paths = context.paths
    files.make_private_folder(paths.known_hosts.parent)
    context.drivers.guest.write_known_hosts(paths.known_hosts, entries)
    context.drivers.guest.write_ssh_config(
        paths.ssh_config, hosts, user=USER, key=paths.ssh_key, known_hosts=paths.known_hosts
    )


def ssh_files_know(context: Context, vm: VM) -> bool:
    """Whether the VM's host key is in them. Every start asks, and seldom has to write."""
    private = context.paths.host_key(vm.id)
    try:
        public = private.with_name(private.name + ".pub").read_text(encoding="ascii")
        known = context.paths.known_hosts.read_text(encoding="ascii")
    except OSError:
        return False
    wanted = (host_key_alias(vm.id), *public.split()[1:2])
    return context.paths.ssh_config.exists() and all(text in known for text in wanted)
