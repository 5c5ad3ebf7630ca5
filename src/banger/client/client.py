"""One method for each route of the daemon's API."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from typing import cast
from urllib.parse import quote

from banger.client.transport import TIMEOUT, Connection, Response, request_head
from banger.client.views import (
    AccessView,
    ImageView,
    JSONObject,
    OperationView,
    PrunableView,
    StatsView,
    VMView,
)
from banger.errors import BangerError, InvalidInput, from_dict

#: The daemon sends a comment line every 15 s, so a stream silent for longer is dead.
STREAM_TIMEOUT = 45.0
#: A console that is followed may be silent for days; the daemon's end cuts the connection.
SILENCE_TIMEOUT = 7 * 86400.0


def problem_to_error(body: bytes, status: int) -> BangerError:
    """The error that a problem body stands for."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return BangerError(
            f"bangerd refused the request with status {status}",
            cause=body[:200].decode(errors="replace"),
            resolution="banger daemon logs",
        )
    known = {key: value for key, value in problem.items() if isinstance(value, str)}
    known.setdefault("brief", known.get("detail") or known.get("title") or f"status {status}")
    return from_dict(known)


def _part(ref: str, kind: str) -> str:
    if not ref:
        raise InvalidInput(
            f"the {kind} name is empty",
            cause="a name or an id is needed",
            resolution=f"banger {kind.lower()} list",
        )
    return quote(ref, safe="", errors="replace")


class BangerClient:
    """The daemon behind ``socket_path``.

    ``revive`` starts the daemon again when it went away; without it a silent socket is an
    error. Every method raises the daemon's own errors and those of ``client.transport``.
    """

    def __init__(self, socket_path: str, revive: Callable[[], None] | None = None):
        self.socket_path = socket_path
        self.revive = revive

    # the exchange itself
    def open(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        timeout: float = TIMEOUT,
        on_idle: Callable[[], None] | None = None,
    ) -> Response:
        """Send a request; the reply's body is still to be read. Errors are raised."""
        sent = dict(headers or {})
        payload = b""
        if body is not None:
            payload = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        if body is not None or method not in ("GET", "HEAD"):
            sent["Content-Length"] = str(len(payload))
        connection = Connection(self.socket_path, timeout)
        try:
            connection.on_idle = on_idle
            connection.send(request_head(method, target, sent) + payload)
            response = Response.receive(connection)
            if response.status >= 400:
                raise problem_to_error(response.read(), response.status)
        except BaseException:
            connection.close()
            raise
        return response

    def call(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> JSONObject:
        """Send a request and decode the JSON object of the reply."""
        response = self.open(method, target, body, headers=headers, timeout=timeout)
        with response.connection:
            data = response.read()
        try:
            value = json.loads(data or b"{}")
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise BangerError(
                "bangerd gave an answer that cannot be read",
                cause="the reply is not a JSON object",
                resolution="banger daemon restart",
            )
        return value

    def stream(
        self,
        target: str,
        *,
        on_idle: Callable[[], None] | None = None,
        timeout: float | None = None,
    ) -> Generator[bytes, None, None]:
        """The pieces of a reply that may take for ever; close the iterator to end it.

        ``timeout`` is how many seconds it may be silent (the stream's keep-alive if absent).
        """
        seconds = STREAM_TIMEOUT if timeout is None else timeout
        response = self.open("GET", target, timeout=seconds, on_idle=on_idle)
        with response.connection:
            yield from response.pieces()

    # the daemon
    def about(self) -> JSONObject:
        return self.call("GET", "/")

    def daemon(self) -> JSONObject:
        return self.call("GET", "/v1/daemon")

    def stop_daemon(self) -> None:
        self.call("POST", "/v1/daemon/stop", {})

    # VMs
    def vms(self, fields: Sequence[str] = (), *, timeout: float = TIMEOUT) -> list[VMView]:
        """All VMs, with only ``fields`` of each where given."""
        target = "/v1/vms"
        if fields:
            target += "?fields=" + ",".join(fields)
        return cast("list[VMView]", self.call("GET", target, timeout=timeout).get("vms", []))

    def vm(self, ref: str) -> VMView:
        return cast("VMView", self.call("GET", f"/v1/vms/{_part(ref, 'VM')}"))

    def create_vm(self, body: JSONObject, key: str = "") -> OperationView:
        """Begin a creation; the same ``key`` again gives the same operation."""
        headers = {"Idempotency-Key": key} if key else {}
        return cast("OperationView", self.call("POST", "/v1/vms", body, headers=headers))

    def act(self, ref: str, action: str, body: JSONObject | None = None) -> OperationView:
        """Begin ``start``, ``stop``, ``kill``, ``restart``, ``pause`` or ``resume``."""
        target = f"/v1/vms/{_part(ref, 'VM')}/{action}"
        return cast("OperationView", self.call("POST", target, body or {}))

    def nat(self, ref: str, *, up: bool) -> OperationView:
        return self.act(ref, "nat", {"up": up})

    def forward(self, ref: str, port: JSONObject) -> OperationView:
        """Publish a port or take it back; ``port`` has the fields of the request."""
        return self.act(ref, "forward", port)

    def rename_vm(self, ref: str, name: str) -> OperationView:
        target = f"/v1/vms/{_part(ref, 'VM')}"
        return cast("OperationView", self.call("PATCH", target, {"name": name}))

    def delete_vm(self, ref: str, *, force: bool) -> OperationView:
        target = f"/v1/vms/{_part(ref, 'VM')}?force={'true' if force else 'false'}"
        return cast("OperationView", self.call("DELETE", target))

    def access(self, ref: str) -> AccessView:
        return cast("AccessView", self.call("GET", f"/v1/vms/{_part(ref, 'VM')}/access"))

    def logs(
        self,
        ref: str,
        *,
        follow: bool,
        lines: int,
        on_idle: Callable[[], None] | None = None,
    ) -> Generator[bytes, None, None]:
        """The serial console's log; ``lines`` from its end, 0 for all."""
        query = f"follow={'true' if follow else 'false'}&lines={lines}"
        target = f"/v1/vms/{_part(ref, 'VM')}/logs?{query}"
        timeout = SILENCE_TIMEOUT if follow else None
        return self.stream(target, on_idle=on_idle, timeout=timeout)

    def all_stats(self) -> list[StatsView]:
        """What every running VM has used."""
        return cast("list[StatsView]", self.call("GET", "/v1/stats").get("stats", []))

    # images
    def images(self) -> list[ImageView]:
        return cast("list[ImageView]", self.call("GET", "/v1/images").get("images", []))

    def image(self, ref: str) -> ImageView:
        return cast("ImageView", self.call("GET", f"/v1/images/{_part(ref, 'image')}"))

    def build_image(self, body: JSONObject) -> OperationView:
        return cast("OperationView", self.call("POST", "/v1/images", body))

    def register_image(self, body: JSONObject) -> OperationView:
        """Begin a copy of the user's own files; the paths in ``body`` are absolute."""
        return cast("OperationView", self.call("POST", "/v1/images:register", body))

    def import_image(self, body: JSONObject) -> OperationView:
        """Begin to make an image of an archive."""
        return cast("OperationView", self.call("POST", "/v1/images:import", body))

    def customize_image(self, body: JSONObject) -> OperationView:
        """Begin to make a changed copy of an image."""
        return cast("OperationView", self.call("POST", "/v1/images:customize", body))

    def keep_image(self, vm: str, name: str) -> OperationView:
        """Begin to make an image of a stopped VM."""
        body = {"vm": vm, "name": name}
        return cast("OperationView", self.call("POST", "/v1/images:keep", body))

    def rename_image(self, ref: str, name: str) -> OperationView:
        target = f"/v1/images/{_part(ref, 'image')}"
        return cast("OperationView", self.call("PATCH", target, {"name": name}))

    def prunable(self) -> list[PrunableView]:
        """What of images nobody uses."""
        return cast("list[PrunableView]", self.call("GET", "/v1/images:prune")["prunable"])

    def prune(self) -> list[PrunableView]:
        """Remove the remains and the caches; what has gone."""
        return cast("list[PrunableView]", self.call("POST", "/v1/images:prune", {})["prunable"])

    def delete_image(self, ref: str) -> OperationView:
        return cast("OperationView", self.call("DELETE", f"/v1/images/{_part(ref, 'image')}"))

    # operations
    def operations(self, *, active: bool) -> list[OperationView]:
        target = "/v1/operations" + ("?active=true" if active else "")
        return cast("list[OperationView]", self.call("GET", target).get("operations", []))

    def operation(self, ref: str, wait: float = 0) -> OperationView:
        """An operation; ``wait`` is how many seconds (at most 60) to wait for its end."""
        target = f"/v1/operations/{_part(ref, 'operation')}"
        if wait:
            target += f"?wait={wait:g}"
        return cast("OperationView", self.call("GET", target, timeout=TIMEOUT + wait))

    def cancel(self, ref: str) -> OperationView:
        target = f"/v1/operations/{_part(ref, 'operation')}/cancel"
        return cast("OperationView", self.call("POST", target, {}))
