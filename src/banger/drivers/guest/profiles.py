"""The boot profiles ``standard`` and ``fast``: kernel arguments and what systemd leaves out.

Both: the root disk, the network and the identity are set before systemd starts; the serial
console logs in as root; units that make no sense in a microVM are masked. Masks and our own
units live in ``/run``, so the root file system stays as the distribution made it and a VM can
change its profile at each boot.

``standard``: systemd starts everything, with udev, logind, sysctl and a persistent journal.

``fast``: SSH server and agent start before systemd, which adopts them when it comes a moment
later as ``ssh.service`` and ``banger-agent.service``. What differs inside:

- no udev: devtmpfs makes the nodes; ``/dev/disk/by-*`` and hot-plug events do not exist;
- no logind: no ``loginctl``, no per-user manager or ``/run/user`` (ssh, sudo and tmux work);
- the journal is in memory and ends with the VM's run;
- no ``/etc/sysctl.d``, ``/etc/modules-load.d`` or binfmt at boot, no background timers;
- systemd's generators run only where the file that they read is there.

Nothing that weakens the guest is in either: ``mitigations=off``, ``nokaslr`` and ``lsm=`` were
tried, and what they save of a boot cannot be told from noise.
"""

from __future__ import annotations

from banger.errors import InvalidInput

STANDARD = "standard"
FAST = "fast"

#: Arguments of both profiles. The VMM's driver adds console and clock, and how this machine ends
#: when its guest panics or reboots.
_ARGUMENTS = (
    "root=/dev/vda",
    "rw",
    "quiet",
    # The interface is eth0 whether or not udev runs.
    "net.ifnames=0",
    # The self tests of the crypto code are the longest part of a kernel start (0.7 s of 2.2 s).
    "cryptomgr.notests=1",
    "random.trust_cpu=on",
    "audit=0",
    # One UART is there; probing for three more takes time.
    "8250.nr_uarts=1",
    "rcupdate.rcu_expedited=1",
)

#: Units that are masked in both profiles: unit -> why it has no use in a microVM.
COMMON_MASKS = {
    "apt-daily.timer": "would hold dpkg's lock and download at an arbitrary moment",
    "apt-daily-upgrade.timer": "as apt-daily.timer",
    "e2scrub_all.timer": "checks file systems on LVM",
    "e2scrub_reap.service": "as e2scrub_all.timer, and takes seconds",
    "getty@tty1.service": "there is no screen",
    "systemd-fsck-root.service": "the journal of ext4 is replayed when init mounts the root",
    "systemd-firstboot.service": "the identity is already there",
    "systemd-machine-id-commit.service": "the identity is already there",
    "systemd-hwdb-update.service": "describes hardware that no VM has",
    "systemd-pstore.service": "there is no firmware storage",
    "systemd-networkd-wait-online.service": "the address is set before systemd starts",
}

#: Units that only ``fast`` masks: unit -> what is lost, or why nothing is.
FAST_MASKS = {
    "systemd-udevd.service": "devtmpfs makes the nodes of the few virtio devices",
    "systemd-udevd-control.socket": "as systemd-udevd.service",
    "systemd-udevd-kernel.socket": "as systemd-udevd.service",
    "systemd-udev-trigger.service": "as systemd-udevd.service",
    "systemd-udev-settle.service": "as systemd-udevd.service",
    "systemd-udev-load-credentials.service": "as systemd-udevd.service",
    "systemd-journal-flush.service": "the journal stays in memory",
    "systemd-random-seed.service": "the kernel is seeded by the CPU",
    "systemd-tmpfiles-setup-dev.service": "init opens /dev/fuse and /dev/net/tun to all users",
    "systemd-tmpfiles-setup-dev-early.service": "as systemd-tmpfiles-setup-dev.service",
    "systemd-update-utmp.service": "no records of boots and runlevels",
    "systemd-update-utmp-runlevel.service": "as systemd-update-utmp.service",
    "systemd-binfmt.service": "no foreign binaries",
    "systemd-sysusers.service": "packages make their users when installed",
    "systemd-sysctl.service": "/etc/sysctl.d is not applied at boot",
    "systemd-modules-load.service": "/etc/modules-load.d is not applied at boot",
    "systemd-remount-fs.service": "init has mounted the root read-write",
    "systemd-user-sessions.service": "logins are never shut out",
    "systemd-logind.service": "no seats or user managers",
    "dbus-org.freedesktop.login1.service": "or a bus call would try to start logind",
    "kmod-static-nodes.service": "device nodes of modules appear when they are loaded",
    "modprobe@configfs.service": "loaded when something mounts it",
    "modprobe@dm_mod.service": "as modprobe@configfs.service",
    "modprobe@drm.service": "there is no screen",
    "modprobe@efi_pstore.service": "there is no firmware storage",
    "modprobe@fuse.service": "as modprobe@configfs.service",
    "modprobe@loop.service": "as modprobe@configfs.service",
    "systemd-ask-password-console.path": "nothing asks for a password at boot",
    "systemd-ask-password-wall.path": "as systemd-ask-password-console.path",
    "proc-sys-fs-binfmt_misc.automount": "no foreign binaries",
    "dev-hugepages.mount": "mount it where it is needed",
    "dev-mqueue.mount": "mount it where it is needed",
    "sys-kernel-debug.mount": "mount it where it is needed",
    "sys-kernel-tracing.mount": "mount it where it is needed",
    "sys-kernel-config.mount": "mount it where it is needed",
    "sys-fs-fuse-connections.mount": "mount it where it is needed",
    "dpkg-db-backup.timer": "copies dpkg's database every day",
    "fstrim.timer": "trims every week",
    "systemd-tmpfiles-clean.timer": "temporary files end with the VM's run",
    "man-db.timer": "indexes manual pages every day",
    "logrotate.timer": "rotates logs every day",
}

#: Generators that only ``fast`` leaves out, each a program in systemd's way to its first unit:
#: name -> the file of the root that brings it back, or nothing.
FAST_GENERATORS = {
    "cryptsetup": "/etc/crypttab",
    "integritysetup": "/etc/integritytab",
    "veritysetup": "/etc/veritytab",
    "rc-local": "/etc/rc.local",
    "system-update": "/system-update",
    # The kernel's arguments are banger's, and ask for nothing of these.
    "debug": "",
    "run": "",
    "hibernate-resume": "",
    "gpt-auto": "",
    # The serial console's login is among our own units.
    "getty": "",
}


def kernel_arguments(profile: str) -> tuple[str, ...]:
    """The kernel arguments of a profile. Raises ``InvalidInput`` if there is no such one."""
    check_profile(profile)
    return _ARGUMENTS


def masked_units(profile: str) -> tuple[str, ...]:
    """The units that a profile masks. Raises ``InvalidInput`` if there is no such one."""
    if check_profile(profile) == FAST:
        return (*COMMON_MASKS, *FAST_MASKS)
    return tuple(COMMON_MASKS)


def check_profile(profile: str) -> str:
    """Return ``profile`` if it is one of the two, else raise ``InvalidInput``."""
    if profile not in (STANDARD, FAST):
        raise InvalidInput(
            f"there is no boot profile {profile!r}",
            cause="the boot profiles are standard and fast",
            resolution="banger create --profile standard",
        )
    return profile
