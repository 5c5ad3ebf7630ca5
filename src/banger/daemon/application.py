"""The ASGI application: routes to handlers, errors to problem bodies, browsers to the door."""

from __future__ import annotations

import asyncio
import logging
import re

from starlette.requests import ClientDisconnect
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from banger.api import routes
from banger.api.problems import Refusal
from banger.daemon.endpoint import SERVICES, VM_LIST, problem_response
from banger.daemon.handlers import (
    access,
    change,
    connectivity,
    events,
    images,
    operations,
    own_images,
    power,
    stats,
    system,
    vms,
)
from banger.daemon.handlers import exec as execution
from banger.daemon.ports import Services
from banger.daemon.vm_list import VMList
from banger.errors import BangerError, InternalError, NotFound, PermissionRefused

_log = logging.getLogger(__name__)
#: One label without dots. A browser that was led here through a forwarded port names the
#: site it believes to talk to.
_HOST = re.compile(r"(?:[A-Za-z0-9_-]+(?::[0-9]{1,5})?)?", re.ASCII)
ROUTES = {
    routes.ROOT: system.About,
    routes.DESCRIPTION: system.Description,
    routes.DAEMON: system.Daemon,
    routes.DAEMON_STOP: system.Stop,
    routes.VMS: vms.VMs,
    routes.VM: vms.VM,
    routes.VM_START: power.Start,
    routes.VM_STOP: power.Stop,
    routes.VM_KILL: power.Kill,
    routes.VM_RESTART: power.Restart,
    routes.VM_PAUSE: power.Pause,
    routes.VM_RESUME: power.Resume,
    routes.VM_SET: change.Set,
    routes.VM_CLONE: change.Clone,
    routes.VM_REBUILD: change.Rebuild,
    routes.VM_NAT: connectivity.Nat,
    routes.VM_FORWARD: connectivity.Forwards,
    routes.VM_ACCESS: access.Access,
    routes.VM_LOGS: access.Logs,
    routes.VM_STATS: stats.VMStats,
    routes.VM_EXEC: execution.Exec,
    routes.STATS: stats.Stats,
    routes.IMAGES: images.Images,
    routes.IMAGE: images.Image,
    routes.IMAGE_REGISTER: own_images.Register,
    routes.IMAGE_CUSTOMIZE: own_images.Customize,
    routes.IMAGE_KEEP: own_images.Keep,
    routes.IMAGE_IMPORT: own_images.Import,
    routes.IMAGE_PRUNE: own_images.Prune,
    routes.OPERATIONS: operations.Operations,
    routes.OPERATION: operations.Operation,
    routes.OPERATION_CANCEL: operations.Cancel,
    routes.EVENTS: events.Events,
}


class Application:
    """One user's API."""

    def __init__(self, services: Services) -> None:
        self._shared = {SERVICES: services, VM_LIST: VMList(services)}
        paths = [Route(path, endpoint) for path, endpoint in ROUTES.items()]
        self._router = Router(paths, redirect_slashes=False, default=_unknown)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            check_origin(scope)
            scope.update(self._shared)
            await self._router(scope, receive, watched)
            return
        except (Refusal, BangerError) as error:
            refusal: Refusal | BangerError = error
        except ClientDisconnect:
            return
        except asyncio.CancelledError:
            # The daemon ends and this answer did not come in time.
            refusal = Refusal(503, InternalError("bangerd is ending", resolution="try again"))
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a problem
            _log.exception("%s %s failed", scope["method"], scope["path"])
            refusal = InternalError(
                f"{scope['method']} {scope['path']} met a defect of banger",
                cause=f"{type(error).__name__}, with the traceback in the daemon's log",
                resolution="banger daemon logs",
            )
        if started:
            # The head is out already: the cut connection is all that can tell the client.
            _log.warning("%s %s was cut: %s", scope["method"], scope["path"], refusal)
            return
        await problem_response(refusal)(scope, receive, send)


def check_origin(scope: Scope) -> None:
    """Raise ``PermissionRefused`` for what only a browser on some web page would send."""
    for name, value in scope["headers"]:
        foreign = (
            name == b"origin"
            or (name == b"sec-fetch-site" and value != b"none")
            or (name == b"host" and not _HOST.fullmatch(value.decode("latin-1")))
        )
        if foreign:
            raise PermissionRefused(
                "requests from web pages are refused",
                cause=f"the header {name.decode()} is {value[:80].decode('latin-1')!r}",
                resolution="call http://banger/ through the socket, without that header",
            )


async def _unknown(scope: Scope, _receive: Receive, _send: Send) -> None:
    raise NotFound(
        f"there is nothing at {scope['path'][:200]}",
        cause="no resource has this path",
        resolution="see /openapi.json",
    )
