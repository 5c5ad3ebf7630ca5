"""Reaches a guest by SSH: the client's command line (pure) and the wait for a server's greeting."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

#: Seconds for one connection attempt. A guest that is not up yet does not answer at all, and
#: TCP would try again only after 1 s and then 3 s.
_CONNECT_TIMEOUT = 0.05
#: Seconds between two attempts that were refused or lost.
_PAUSE = 0.01
#: A user-mode network accepts connections before the guest exists, keeps them, and repeats
#: its SYN after 6 s. So an open connection that is not greeted gets another one beside it:
#: after this share of the time waited so far, and at least after so many seconds. That bounds
#: what is lost, and gives slow servers on loaded hosts the more time the slower they are.
_NEXT_SHARE = 0.05
_NEXT_LEAST = 0.15
#: Connections that wait at once; then the oldest is given up. A server refuses new ones at 10.
_MOST_WAITING = 8
_GREETING = b"SSH-"


#: What holds for every guest. The user's own keys and agent stay out of it, and the host key
#: must be the one that was pinned before the guest first booted.
OPTIONS = {
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "PreferredAuthentications": "publickey",
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "/dev/null",
    "UpdateHostKeys": "no",
    "CheckHostIP": "no",
    # First in the list, not the only one: a guest may have another server.
    "KexAlgorithms": "^curve25519-sha256",
    "ConnectTimeout": "10",
    # A guest that dies says no farewell.
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "3",
    "LogLevel": "ERROR",
}


def ssh_command(
    *, host: str, port: int, user: str, key: Path, known_hosts: Path, host_key_alias: str
) -> tuple[str, ...]:
    """OpenSSH's argv up to ``user@host``; the user's own configuration stays out of it."""
    options = OPTIONS | {
        # Not by -i: that takes a % as it is when it looks for the file, and as a token later.
        "IdentityFile": quoted(key),
        "UserKnownHostsFile": quoted(known_hosts),
        "HostKeyAlias": host_key_alias,
    }
    rendered = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ("ssh", "-F", "/dev/null", *rendered, "-p", str(port), f"{user}@{host}")


def quoted(path: Path) -> str:
    """``path`` as the value of an option that names files: blanks separate, % starts a token."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


async def ssh_banner(host: str, port: int, *, timeout: float) -> bool:
    """Whether an SSH server greets there within ``timeout`` seconds. Never raises ``OSError``."""
    clock = asyncio.get_running_loop().time
    begin = clock()
    waiting: dict[asyncio.Task[bool], None] = {}
    dropped: set[asyncio.Task[bool]] = set()
    try:
        async with asyncio.timeout(timeout):
            while True:
                if len(waiting) == _MOST_WAITING:
                    oldest = next(iter(waiting))
                    oldest.cancel()
                    dropped.add(oldest)
                    del waiting[oldest]
                waiting[asyncio.create_task(_greeted(host, port))] = None
                pause = max(_NEXT_LEAST, _NEXT_SHARE * (clock() - begin))
                done, _ = await asyncio.wait(
                    waiting, timeout=pause, return_when=asyncio.FIRST_COMPLETED
                )
                if any(task.result() for task in done):
                    return True
                for task in done:
                    del waiting[task]
                if done:
                    await asyncio.sleep(_PAUSE)
    except TimeoutError:
        return False
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, *dropped, return_exceptions=True)


async def _greeted(host: str, port: int) -> bool:
    """One connection: whether it was greeted; waits as long as the server leaves it open."""
    writer = None
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port)
        return await reader.readexactly(len(_GREETING)) == _GREETING
    except (OSError, asyncio.IncompleteReadError):
        return False  # TimeoutError is an OSError
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
