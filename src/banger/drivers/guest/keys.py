"""SSH key pairs: the user's own, one for all VMs, and the host key of each VM."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from banger.errors import CorruptState
from banger.host.command import Command, run_blocking
from banger.host.files import explained, write_atomic

_PACKAGE = "openssh-client"


def public_path(private: Path) -> Path:
    """Where the public half of a key lies."""
    return private.with_name(private.name + ".pub")


def ensure_key(private: Path, comment: str) -> str:
    """The public line of the ed25519 key at ``private``; the pair is made if it is not there.

    Both files are complete whenever they are visible, and two callers at once get the same
    key. Raises ``CorruptState`` if ``private`` is not a key, ``HostNotReady`` without OpenSSH.
    """
    if not private.exists():
        _make(private, comment)
    public = public_path(private)
    if not public.exists():
        write_atomic(public, _derived(private, comment), 0o644)
    line = public.read_text(encoding="utf-8", errors="replace").strip()
    if not line.startswith("ssh-ed25519 "):
        raise CorruptState(
            f"the file {public} is not a public key",
            cause="it does not start with ssh-ed25519",
            resolution=f"rm {public}",
        )
    return line


def _make(private: Path, comment: str) -> None:
    temporary = private.with_name(f".{private.name}.{secrets.token_hex(4)}")
    run_blocking(
        Command(
            ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(temporary)),
            timeout=30,
            package=_PACKAGE,
        )
    )
    with explained(f"write {private}"):
        try:
            # A link, unlike a rename, never takes the place of a key that came meanwhile.
            os.link(temporary, private)
            public_path(temporary).replace(public_path(private))
        except FileExistsError:
            pass
        finally:
            temporary.unlink(missing_ok=True)
            public_path(temporary).unlink(missing_ok=True)


def _derived(private: Path, comment: str) -> str:
    command = Command(
        ("ssh-keygen", "-y", "-P", "", "-f", str(private)), timeout=30, package=_PACKAGE
    )
    kind, key = run_blocking(command).text.split()[:2]
    return f"{kind} {key} {comment}\n"
