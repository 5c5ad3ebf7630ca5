"""banger as an ordinary user has it: no root, and the root side only where a test installs it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import banger
from banger.host.root_side import TUN, Place
from banger.privileged import sudoers
from tests.plugins.home import Home

#: One who may do nothing on any Debian.
USER = "nobody"


class OrdinaryUser:
    """Runs banger as ``user``, from a copy that they may read, in a home that is theirs."""

    def __init__(self, home: Home, user: str = USER) -> None:
        self.home = home
        self.account = pwd.getpwnam(user)
        self.program = home.root / "program"
        shutil.copytree(sysconfig.get_path("purelib"), self.program, symlinks=True)
        shutil.copytree(Path(banger.__file__).parent, self.program / "banger", dirs_exist_ok=True)
        self.take(home.root)
        kept = {key: value for key, value in home.environment.items() if "COVERAGE" not in key}
        self.environment = {
            **kept,
            "PYTHONPATH": str(self.program),
            "PYTHONDONTWRITEBYTECODE": "1",
            "USER": user,
        }

    @property
    def uid(self) -> int:
        return self.account.pw_uid

    def take(self, path: Path) -> None:
        """Give a folder or file to the user."""
        owner = f"{self.account.pw_uid}:{self.account.pw_gid}"
        subprocess.run(["chown", "-R", owner, path], check=True)

    def argv(self, *arguments: str) -> list[str]:
        """``banger ARGUMENTS`` as the user."""
        drop = [
            "setpriv",
            f"--reuid={self.account.pw_uid}",
            f"--regid={self.account.pw_gid}",
            "--clear-groups",
        ]
        return [*drop, os.path.realpath(sys.executable), "-m", "banger", *arguments]

    def __call__(
        self, *arguments: str, within: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; ``within`` is what starts it, a namespace for example."""
        return subprocess.run(
            [*within, *self.argv(*arguments)],
            env=self.environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def ok(self, *arguments: str) -> str:
        """Run a command that must succeed and return what it printed."""
        done = self(*arguments)
        assert done.returncode == 0, f"banger {' '.join(arguments)}: {done}"
        return done.stdout

    def end(self) -> None:
        """Delete what the user has, and end their daemon."""
        self("vm", "delete", "--all", "--force")
        self("daemon", "stop")


@contextlib.contextmanager
def root_side_for(home: Home, user: str = USER) -> Iterator[Place]:
    """What ``sudo banger setup`` gives the user, and what ``--remove`` takes back."""
    place, uid = Place(), pwd.getpwnam(user).pw_uid
    if place.prefix.exists() or place.sudoers_file(uid).exists():
        pytest.skip("this machine has the root side installed")
    mode = TUN.stat().st_mode & 0o777
    try:
        shown = home.ok("setup", "--user", user, "--dry-run")
        assert sudoers.render(uid).splitlines()[1] in shown
        assert not place.prefix.exists()
        home.ok("setup", "--user", user)
        assert home("setup", "--user", user).stdout == ""
        yield place
    finally:
        home.ok("setup", "--user", user, "--remove")
        TUN.chmod(mode)
        assert not place.prefix.exists()
        assert not place.sudoers_file(uid).exists()
