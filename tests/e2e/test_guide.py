"""A reader follows the guide: every command line of it, in order, in one shell, on real VMs.

The shell has a mount namespace of its own with another hosts file and an empty
``/usr/local/bin``, so that names and commands are wired as they would be on the reader's machine.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guide.blocks import Block, page_line, read
from tests.plugins.built_image import cache
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = needs("root", "tap", "qemu", "image", "ssh")
TOP = Path(__file__).parents[2]
#: Seconds for one block: `make up` installs an environment, others boot guests.
LIMIT = 240.0
#: Before the reader's first line: a private view of what banger changes of the machine, and the
#: reader's own checkout as the folder they stand in.
_PREPARE = """set -e
mount --bind hosts /etc/hosts
mount -t tmpfs -o mode=700 tmpfs "$(getent passwd root | cut -d: -f6)"
mkdir -m 700 ~root/.ssh "$HOME/.ssh"
mount --bind ~root/.ssh "$HOME/.ssh"
mount -t tmpfs tmpfs /usr/local/bin
cd banger
exec bash"""


class Reader:
    """One shell that gets one block after the other, and says how each ended."""

    def __init__(self, home: Home) -> None:
        self.home = home
        (home.root / "hosts").write_text("127.0.0.1 localhost\n")
        (home.root / "hosts").chmod(0o644)
        _check_out(home.root / "banger")
        _give_packages(home)
        home.environment |= {"BANGER_NAMES": "hosts", "BANGER_NETWORK": "tap"}
        # The folder of the checkout's own environment must not hide what the guide installs.
        home.environment["PATH"] = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
        self.shell = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _PREPARE],
            cwd=home.root,
            env=home.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def follow(self, script: str) -> tuple[int, str]:
        """Run a block as typed into the shell; the status of its first failure, and the output."""
        assert self.shell.stdin
        assert self.shell.stdout
        (self.home.root / "block").write_text(f"set -eu\n{script}")
        end = f"end-{time.monotonic_ns()}"
        # A subshell, only for its status: folders and variables of a block end with it.
        line = f'(set -x; . "{self.home.root}/block") </dev/null; echo; echo "{end} $?"\n'
        self.shell.stdin.write(line.encode())
        self.shell.stdin.flush()
        output, deadline = b"", time.monotonic() + LIMIT
        while (said := re.search(rf"^{end} (\d+)\n\Z".encode(), output, re.MULTILINE)) is None:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.shell.stdout], [], [], max(0.0, left))
            piece = os.read(self.shell.stdout.fileno(), 65536) if ready else b""
            if not piece:
                return 124, output.decode(errors="replace")
            output += piece
        return int(said[1]), output[: said.start()].decode(errors="replace")

    def typing(self, block: Block) -> tuple[int, str]:
        """Run a block on a terminal and type its keys once it waits for them."""
        ours, theirs = pty.openpty()
        script = f"cd banger; {block.script}"
        inside = ["nsenter", f"--mount=/proc/{self.shell.pid}/ns/mnt", f"--wdns={self.home.root}"]
        argv = [*inside, "setsid", "--ctty", "--wait", "bash", "-ec", script]
        child = subprocess.Popen(
            argv,
            env=self.home.environment | {"TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        output = _talk(ours, child, block.keys or "")
        return child.wait(timeout=30), output

    def leave(self) -> None:
        assert self.shell.stdin
        self.shell.stdin.close()
        self.shell.wait(timeout=30)
        if self.shell.stdout:
            self.shell.stdout.close()


def _talk(terminal: int, child: subprocess.Popen[bytes], keys: str) -> str:
    """Type when the screen has been still for a while after it showed something."""
    output, typed, deadline = b"", False, time.monotonic() + LIMIT
    try:
        while child.poll() is None and time.monotonic() < deadline:
            ready, _, _ = select.select([terminal], [], [], 3.0)
            if ready:
                output += os.read(terminal, 65536)
            elif output and not typed:
                os.write(terminal, keys.encode())
                typed = True
    except OSError:
        pass  # EIO: the last of its programs has closed the terminal
    finally:
        os.close(terminal)
    return output.decode(errors="replace")


def _give_packages(home: Home) -> None:
    """The packages that earlier builds of the tests have downloaded: the reader may delete them."""
    have = cache() / "packages/banger/debs"
    if have.is_dir():
        shutil.copytree(have, home.paths.cache / "debs", symlinks=True)


def _check_out(target: Path) -> None:
    """What is in the working tree, committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TOP,
        check=True,
        capture_output=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (TOP / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, target / name, follow_symlinks=False)


@pytest.fixture
def reader(banger_with_image: Home) -> Iterator[Reader]:
    reader = Reader(banger_with_image)
    yield reader
    reader.leave()


def test_every_command_of_the_guide(reader: Reader) -> None:
    blocks = [block for block in read() if not block.lab]
    assert blocks
    for block in blocks:
        began = time.monotonic()
        if block.keys is None:
            status, output = reader.follow(block.script)
        else:
            status, output = reader.typing(block)
        print(f"{time.monotonic() - began:6.1f} s: {page_line(block.line)}")
        assert status == 0, f"{page_line(block.line)} ended with {status}:\n{output}"
