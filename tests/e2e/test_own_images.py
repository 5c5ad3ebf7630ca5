"""Images that a user makes: in a shell on a terminal, and of files; each boots and is its own."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.test_own_files import put, sparse_copy
from tests.own_files import own_kernel
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = needs("qemu", "image", "ssh", "e2fsprogs")
#: Seconds for one answer of a guest in software emulation on a busy host.
PATIENCE = 120.0
OWN = "cat /etc/ssh/ssh_host_ed25519_key.pub /etc/machine-id; cat /root/.ssh/authorized_keys"


class Terminal:
    """A command of banger on a terminal of its own."""

    def __init__(self, home: Home, *words: str) -> None:
        self._own, theirs = pty.openpty()
        self.seen = ""
        argv = [sys.executable, "-m", "banger", *words]
        self._child = subprocess.Popen(
            argv,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=home.environment,
            cwd=home.root,
            start_new_session=True,
        )
        os.close(theirs)

    def expect(self, pattern: str) -> str:
        """Wait until the pattern is seen; what was there up to its end, then forgotten."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.seen)):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._own], [], [], max(0.0, left))
            piece = self._read() if ready else b""
            assert piece, f"{pattern!r} did not come: {self.seen}"
            self.seen += piece.decode(errors="replace")
        before, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return before

    def type(self, line: str) -> None:
        os.write(self._own, f"{line}\n".encode())

    def end(self) -> int:
        """The exit status; all that is still printed is in ``seen``."""
        while piece := self._read():
            self.seen += piece.decode(errors="replace")
        os.close(self._own)
        return self._child.wait(PATIENCE)

    def _read(self) -> bytes:
        try:
            return os.read(self._own, 65536)
        except OSError:  # EIO: nobody has the other end any more
            return b""


def debugfs(image: Path, command: str) -> str:
    argv = ["/usr/sbin/debugfs", "-R", command, str(image)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_a_copy_changed_in_a_shell_is_an_image(
    banger_with_image: Home, leaves_nothing: Callable[[], None]
) -> None:
    home = banger_with_image
    terminal = Terminal(home, "image", "interactive", "debian", "--out", "tools")
    terminal.expect("leave with exit, and it becomes the image tools")
    terminal.expect("# $")
    terminal.type("touch /root/mine; stty -echo; PS1=; echo be''gin")
    terminal.expect("begin\r\n")
    terminal.type(f"{OWN}; echo e''nd")
    before = terminal.expect("end\r\n").removesuffix("end\r\n").splitlines()
    terminal.type("exit")
    assert terminal.end() == 0, terminal.seen
    assert "kept tools (" in terminal.seen
    assert home.ok("ls", "-q") == ""

    image = home.json("image", "show", "tools")
    assert (image["origin"], image["used_by"]) == ("kept from a VM of debian", [])
    rootfs = Path(image["directory"]) / "rootfs.ext4"
    base = Path(home.json("image", "show", "debian")["directory"]) / "rootfs.ext4"
    for path in ("/etc/hostname", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key", "/etc/hosts",
                 "/root/.ssh/authorized_keys", "/etc/resolv.conf",
                 "/var/lib/systemd/random-seed"):  # fmt: skip
        assert debugfs(rootfs, f"cat {path}") == debugfs(base, f"cat {path}"), path

    home.ok("run", "--name", "web", "--image", "tools", "--memory", "512M")
    script = f"ls /root/mine; hostname; {OWN}"
    mine, name, *after = home.ok("ssh", "web", "--", script).splitlines()
    assert (mine, name) == ("/root/mine", "web")
    # Another host key and machine id; the user's own key is still there once.
    assert {after[0], after[1]}.isdisjoint(before)
    assert after[2:] == before[2:]
    refused = home("image", "delete", "tools")
    assert refused.status == 5
    assert "used by web" in refused.stderr
    home.ok("image", "rename", "tools", "kit")
    assert home.json("show", "web")["image"] == "kit"
    home.ok("rm", "--force", "web")
    home.ok("image", "delete", "kit")
    leaves_nothing()


def test_files_of_ones_own_are_an_image(
    banger: Home, built_image: Path, tmp_path: Path, leaves_nothing: Callable[[], None]
) -> None:
    """A distribution's kernel, initrd and modules; the files themselves may go."""
    rootfs = sparse_copy(built_image / "rootfs.ext4", banger.root / "rootfs.ext4")
    put(rootfs, "/etc/mark", "mine\n", tmp_path)
    own = own_kernel()
    files = (
        "--rootfs",
        str(rootfs),
        "--kernel",
        str(own.kernel),
        "--initrd",
        str(own.small_initrd),
    )
    banger.ok("image", "register", "own", *files, "--modules", str(own.modules))
    rootfs.unlink()
    image = banger.json("image", "show", "own")
    assert image["kernel_version"] == own.version
    banger.ok("run", "--name", "deb", "--image", "own", "--memory", "768M")
    script = "cat /etc/mark; uname -r; hostname; modprobe nbd && ls /dev/nbd0"
    assert banger.ok("exec", "deb", "--", "sh", "-c", script).split() == [
        "mine", own.version, "deb", "/dev/nbd0"
    ]  # fmt: skip
    banger.ok("rm", "--force", "deb")
    freed = banger.ok("image", "prune", "--yes")
    assert "image" in freed
    assert banger.json("image", "list") == []
    assert not list(banger.paths.images.iterdir())
    leaves_nothing()
