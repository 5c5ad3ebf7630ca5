"""The shell that mmdebstrap runs around a build: package cache, kernel and tidying up.

Hooks see the new system's root as ``$1``. Without root they run in a user namespace that can
reach none of our folders, so what they need is in their text, and what they make stays in the
root: ``/banger-boot`` (kernel, busybox, facts) and ``/banger-debs`` (new packages).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

#: In the new root, and in the tar that mmdebstrap leaves.
BOOT = "banger-boot"
DEBS = "banger-debs"

#: Spares dpkg the wait for the disk at every file. Right only while a lost build is no loss.
UNSAFE = "force-unsafe-io"

#: Files that a reproducible image cannot keep, and what is only a copy of something else.
_UNWANTED = (
    "etc/ssh/ssh_host_*",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "var/cache/apt/*.bin",
    "var/cache/debconf/*-old",
    "var/lib/dpkg/*-old",
)

#: Some packages cannot be installed where the folders of manual pages are missing.
PREPARE = f"""mkdir -p "$1/var/cache/apt/archives" "$1/{BOOT}"
for section in 1 2 3 4 5 6 7 8; do mkdir -p "$1/usr/share/man/man$section"; done"""
#: The moment before any download: packages that change later are new to the cache.
MARK = f'touch "$1/{BOOT}/started"'

_KERNEL = """set -eu
root=$1
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
kernel=
for meta in @METAS@; do
    kernel=$(apt-cache depends "$meta" 2>/dev/null |
        sed -n 's/^ *Depends: \\(linux-image-[0-9].*\\)$/\\1/p' | head -n 1)
    if [ -n "$kernel" ]; then break; fi
done
if [ -z "$kernel" ]; then
    echo "E: banger: the archive has none of the kernel packages" @METAS@ >&2
    exit 1
fi
version=${kernel#linux-image-}
# Newer suites keep image, modules and configuration in packages of their own.
parts=$(apt-cache depends "$kernel" |
    sed -n "s/^ *Depends: \\(linux-[a-z]*-$version\\)\\$/\\1/p")
echo "banger: kernel $version"
archives=$root/var/cache/apt/archives
work=$root/@BOOT@/work
mkdir "$work"
# The names first, in an empty folder: apt does not name what it finds already there.
cd "$work"
apt-get --option APT::Sandbox::User=root --print-uris download "$kernel" $parts busybox-static \\
    >uris
names=$(sed -n "s/^'[^']*' \\([^ ]*\\) .*/\\1/p" uris)
cd "$archives"
apt-get --option APT::Sandbox::User=root download "$kernel" $parts busybox-static
for name in $names; do
    echo "banger: unpacking $name"
    dpkg-deb --extract "$archives/$name" "$work"
done
# In /boot, or in newer packages below /usr.
find "$work" -type f -name 'vmlinuz*' -exec mv {} "$root/@BOOT@/vmlinuz" \\;
mkdir -p "$root/usr/lib/modules" "$root/boot"
for folder in lib/modules usr/lib/modules; do
    if [ -d "$work/$folder/$version" ]; then
        mv "$work/$folder/$version" "$root/usr/lib/modules/"
    fi
done
for program in bin/busybox usr/bin/busybox; do
    if [ -f "$work/$program" ]; then
        mv "$work/$program" "$root/@BOOT@/busybox"
    fi
done
find "$work" -type f -name 'config-*' -exec mv --target-directory "$root/boot" {} +
rm -rf "$work"
chroot "$root" depmod "$version"
echo "$version" >"$root/@BOOT@/version"
echo "$names" >"$root/@BOOT@/fetched"
"""

_TIDY = """set -eu
cd "$1"
rm -rf @UNWANTED@
sed '/^@UNSAFE@$/d' etc/dpkg/dpkg.cfg.d/99mmdebstrap >etc/dpkg/dpkg.cfg.d/banger-trim
rm etc/dpkg/dpkg.cfg.d/99mmdebstrap
find usr/share/doc -mindepth 1 -type d -empty -delete
# sync-in has given the folder the owner and mode of our cache.
chown root:root var/cache/apt/archives
chmod 755 var/cache/apt/archives
find var/log -type f -exec truncate --size 0 {} +
dpkg-query --admindir="$1/var/lib/dpkg" --show \\
    --showformat '${Package} ${Version} ${Architecture}\\n' >"@BOOT@/packages"
mkdir @DEBS@
find var/cache/apt/archives -maxdepth 1 -name '*.deb' -cnewer @BOOT@/started \\
    -exec mv --target-directory @DEBS@ {} +
rm @BOOT@/started
"""

_DISABLE = """set -eu
for unit in @UNITS@; do
    find "$1/etc/systemd/system" -path "*.wants/$unit" -delete
done
"""

FORGET_DEBS = f'rm -rf "$1/{DEBS}"'


def kernel_hook(metapackages: Sequence[str]) -> str:
    """Fetch the kernel that the first existing metapackage names, and a static busybox.

    The modules go where the system looks for them; kernel image, busybox and the version into
    ``/banger-boot``. The kernel is not installed as a package: that would bring an initramfs
    generator, and the guest's own upgrades would change a file that nobody boots.
    """
    return _KERNEL.replace("@METAS@", shlex.join(metapackages)).replace("@BOOT@", BOOT)


def disable_hook(units: Sequence[str]) -> str:
    """Keep the units from starting at boot; asking for one, or its socket, still starts it."""
    return _DISABLE.replace("@UNITS@", shlex.join(units))


def tidy_hook() -> str:
    """Remove what must not be in an image, list its packages, set new .debs apart."""
    text = _TIDY.replace("@UNWANTED@", " ".join(_UNWANTED))
    for name, value in (("@BOOT@", BOOT), ("@DEBS@", DEBS), ("@UNSAFE@", UNSAFE)):
        text = text.replace(name, value)
    return text
