"""Installs packages into a tree: fetched by the host's apt, set up by the tree's own programs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from banger.drivers.image import apt_options, debs, docker, offline_apt, sources
from banger.drivers.image.assembly import Assembly
from banger.drivers.image.guest_root import SHARE
from banger.drivers.image.offline_apt import Share
from banger.drivers.image.packages import checked_list
from banger.drivers.image.progress import DOWNLOAD
from banger.drivers.image.user_namespace import UserNamespace, write_readable
from banger.errors import CommandFailed, HostNotReady, InvalidInput
from banger.host import files
from banger.host.command import Command, run
from banger.host.files import explained
from banger.host.threads import in_thread
from banger.model.image import Customization

ARCHITECTURE = "amd64"
_CODENAME = re.compile(r"^VERSION_CODENAME=[\"']?([a-z][a-z0-9.-]*)", re.MULTILINE)
_DATABASE = "var/lib/dpkg/status"


class TreePackages(Struct, frozen=True):
    """Works on one customisation. ``apt`` is the host's ``/etc/apt``, ``cache`` holds packages."""

    wanted: Customization
    build: Assembly
    namespace: UserNamespace
    apt: Path
    cache: Path

    @property
    def share(self) -> Share:
        """The folder that host and tree share."""
        return Share(self.build.work / "share")

    async def install(self, kernel: str) -> int:
        """Install what is wanted, and index the modules of ``kernel``, if that is a version.

        Returns how many packages are in the tree then, 0 if it has no package database.
        Raises ``InvalidInput`` where packages cannot be installed, ``CommandFailed``.
        """
        share = self.share
        for folder in (share.folder, *(share.folder / name for name in _folders())):
            self.namespace.make_folder(folder)
        suite, names, units = self.wanted.suite, tuple[str, ...](), tuple[str, ...]()
        if self.wanted.packages or self.wanted.docker:
            suite = await self._check()
            wanted = self.wanted.packages
            if self.wanted.docker:
                wanted, units = (*wanted, *docker.packages_for(suite)), docker.UNITS_AT_BOOT
            names = checked_list(wanted)
            await self._fetch(suite, names)
        script = offline_apt.INSTALL
        argv = ("guest", str(self.build.tree), str(share.folder), script, kernel, " ".join(units))
        try:
            await self.build.output.run(
                Command((*self.namespace.enter, *argv, *names), timeout=offline_apt.TIMEOUT)
            )
        finally:
            await in_thread(lambda _: _forget(self.build.tree / SHARE.strip("/")))
        listing = await self._read(share.folder, offline_apt.PACKAGES)
        return len(listing.splitlines())

    async def _check(self) -> str:
        """The release of the tree."""
        status = await self._read(self.build.tree, _DATABASE)
        release = await self._read(self.build.tree, "etc/os-release")
        probe = ("guest", str(self.build.tree), str(self.share.folder), "command -v apt-get")
        try:
            await run(Command((*self.namespace.enter, *probe), timeout=60))
        except CommandFailed:
            status = ""
        finally:
            await in_thread(lambda _: _forget(self.build.tree / SHARE.strip("/")))
        if not status:
            raise self._impossible("it is no Debian system: it has no apt-get, or no packages")
        suite = self.wanted.suite or codename(release)
        if not suite:
            raise self._impossible("it does not say which Debian release it is")
        write_readable(self.share.folder / offline_apt.STATUS, status)
        return sources.check_suite(suite)

    async def _fetch(self, suite: str, names: Sequence[str]) -> None:
        output, share, enter = self.build.output, self.share, self.namespace.programs
        output.report(DOWNLOAD, None, "package lists")
        dump = await run(Command(("apt-config", "dump"), package="apt", timeout=30))
        options = apt_options.parse_options(dump.text)
        found = sources.pick(sources.read_host_sources(self.apt), suite, ARCHITECTURE)
        if not found:
            text = await self._read(self.build.tree, "etc/apt/sources.list")
            found = sources.pick(sources.parse_one_line(text), suite, ARCHITECTURE)
        if not found:
            raise HostNotReady(
                f"packages of {suite} cannot be fetched",
                cause="neither this host's apt nor the base's knows an archive of that release",
                resolution="add one to /etc/apt/sources.list.d, then sudo apt-get update",
            )
        texts = {
            offline_apt.SOURCES: sources.render(found),
            offline_apt.HOST_CONF: offline_apt.render(
                "host", str(share.folder), ARCHITECTURE, options
            ),
            offline_apt.GUEST_CONF: offline_apt.render("guest", SHARE, ARCHITECTURE),
        }
        for name, text in texts.items():
            write_readable(share.folder / name, text)
        await output.run(offline_apt.update_command(enter, share))
        listed = await run(offline_apt.names_command(enter, share, names))
        wanted = frozenset(offline_apt.parse_names(listed.text))
        cache = self.cache / suite
        files.make_private_folder(cache)
        await in_thread(lambda _: debs.verify(cache))
        await in_thread(lambda _: _give(cache, share.archives, wanted))
        await output.run(offline_apt.fetch_command(enter, share, names))
        # Before anything of the tree runs, which could change them.
        await in_thread(lambda _: debs.adopt(share.archives, cache, wanted))
        await in_thread(lambda _: _give(cache, share.archives, wanted))

    async def _read(self, tree: Path, path: str) -> str:
        """A file of a tree as text, empty if there is none."""
        try:
            done = await run(Command((*self.namespace.enter, "read", str(tree), path)))
        except CommandFailed:
            return ""
        return done.text

    def _impossible(self, cause: str) -> InvalidInput:
        asked = "Docker" if self.wanted.docker else "packages"
        return InvalidInput(
            f"{asked} cannot be put into the base of {self.wanted.name}",
            cause=cause,
            resolution="banger image customize BASE --size 8G, without --docker and --packages",
        )


def codename(release: str) -> str:
    """The release that an os-release(5) names; empty if it names none."""
    match = _CODENAME.search(release)
    return match[1] if match else ""


def _folders() -> tuple[str, ...]:
    """Each folder of the share behind the one that it is in."""
    made: dict[str, None] = {}
    for path in offline_apt.folders():
        above = path.rpartition("/")[0]
        if above:
            made[above] = None
        made[path] = None
    return tuple(made)


def _give(cache: Path, archives: Path, wanted: frozenset[str]) -> None:
    with explained(f"copy packages to {archives}"):
        for name in sorted(wanted):
            if (cache / name).is_file() and not (archives / name).exists():
                shutil.copyfile(cache / name, archives / name)
                (archives / name).chmod(0o644)


def _forget(mount_point: Path) -> None:
    if mount_point.is_dir() and not mount_point.is_symlink():
        mount_point.rmdir()
