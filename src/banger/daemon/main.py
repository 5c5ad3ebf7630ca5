"""``bangerd``: settings, logs, the one-per-user lock, then serve until told to end."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from banger import __version__, logs, settings
from banger.daemon import lock
from banger.errors import BangerError
from banger.paths import Paths

_log = logging.getLogger(__name__)
#: Seconds for tasks, and for threads, to end when the daemon does.
WIND_DOWN = 0.3
#: Threads for what waits on disk and kernel. Python's own number, six with two CPUs, lets a few
#: starts at once wait for one another.
_THREADS = 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon in the foreground; its exit status.

    0: told to end, or another daemon of this user serves the socket already.
    """
    parser().parse_args(arguments)
    # Whatever is made from here on is for this user alone.
    os.umask(0o077)
    try:
        return _run(Paths.from_environment(os.environ, os.geteuid()))
    except BangerError as error:
        sys.stderr.write(f"error: {error.brief}\n")
        for name, text in (("cause", error.cause), ("try", error.resolution)):
            if text:
                sys.stderr.write(f"  {name}: {text}\n")
        return error.exit_status


def parser() -> argparse.ArgumentParser:
    """What the command line may be."""
    whole = argparse.ArgumentParser(
        prog="bangerd", description="The daemon behind banger; banger starts it when needed."
    )
    whole.add_argument(
        "--version", action="version", version=f"bangerd {__version__}", help="show the version"
    )
    whole.add_argument(
        "--foreground", action="store_true", help="stay in the foreground (it always does)"
    )
    return whole


def _run(paths: Paths) -> int:
    socket = paths.socket  # checked for its length before anything is made
    held = lock.acquire(paths)
    if held is None:
        return 0
    preferences = settings.load(paths.settings, os.environ)
    handler = logs.set_up(paths.daemon_log, preferences.log_level)
    # What uvicorn has to tell besides is no news to anybody here.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    _log.info("bangerd %s begins, pid %d, socket %s", __version__, os.getpid(), socket)
    for warning in preferences.warnings:
        _log.warning("%s", warning)
    try:
        _run_loop(_serve(paths, preferences))
    except BangerError as error:
        _log.critical("%s: %s", error.brief, error.cause)
        raise
    except Exception:
        _log.critical("bangerd met a defect", exc_info=True)
        raise
    finally:
        _log.info("bangerd ended")
        logs.tear_down(handler)
        for descriptor in held:
            os.close(descriptor)
    return 0


def _run_loop(serve: Coroutine[Any, Any, None]) -> None:
    """Run the loop to the end of ``serve``, and then wait for nothing that takes long."""
    # Imported only now: a second daemon ends before it gets here.
    import uvloop

    loop = uvloop.new_event_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS))
    try:
        loop.run_until_complete(serve)
    finally:
        wound_down = loop.run_until_complete(_wind_down(loop))
    if not wound_down:
        # A thread is in the middle of something (a KVM probe, say). Start-up is recovery, so
        # it may be dropped like everything else.
        _log.info("bangerd ended before all of its threads")
        logging.shutdown()
        os._exit(0)
    loop.close()


async def _wind_down(loop: asyncio.AbstractEventLoop) -> bool:
    """End tasks and threads; whether all have ended in time."""
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks and (await asyncio.wait(tasks, timeout=WIND_DOWN))[1]:
        return False
    try:
        await asyncio.wait_for(loop.shutdown_default_executor(), WIND_DOWN)
    except TimeoutError:
        return False
    return True


async def _serve(paths: Paths, preferences: settings.Settings) -> None:
    from banger.daemon import wiring
    from banger.daemon.application import Application
    from banger.daemon.listener import Listener, raise_file_limit
    from banger.daemon.server import Server

    raise_file_limit()
    # No folder of the user's is kept busy by a process that may live for months.
    with suppress(OSError):
        os.chdir("/")
    stopping = asyncio.Event()
    assembly = wiring.build(paths, preferences, stopping)
    await assembly.start()
    listener = Listener(paths.socket)
    try:
        await Server(Application(assembly.services), listener, stopping).serve()
    finally:
        listener.close()
        await assembly.end()


if __name__ == "__main__":
    sys.exit(main())
