"""OpenSSH's own programs on VMs, with the configuration that ``banger ssh-config`` installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.plugins.home import Home


def config_of(banger: Home) -> Path:
    """The user's configuration with banger's line in it."""
    banger.ok("ssh-config", "--install")
    return banger.root / ".ssh/config"


def plain(banger: Home, *argv: str) -> str:
    """What one of OpenSSH's programs, or one that starts ssh, prints; it must succeed."""
    program, *rest = argv
    done = banger.on_host(program, "-F", str(banger.root / ".ssh/config"), *rest, timeout=60)
    assert done.returncode == 0, (argv, done.stderr.decode())
    return done.stdout.decode()


def put_rsync(banger: Home, name: str) -> str:
    """Give the guest the host's own rsync with its libraries: the command that starts it there."""
    program = shutil.which("rsync")
    assert program is not None
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = re.findall(r"(/\S+) \(0x", listed)
    banger.ok("exec", name, "--", "mkdir", "-p", "/root/rsync")
    for path in (program, *libraries):
        banger.ok("cp", str(Path(path).resolve()), f"{name}:/root/rsync/{Path(path).name}")
    loader = next(Path(path).name for path in libraries if "/ld-" in path)
    return f"/root/rsync/{loader} --library-path /root/rsync /root/rsync/rsync"
