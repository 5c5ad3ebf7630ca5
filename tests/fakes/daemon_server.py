"""Serves a fake daemon on a Unix socket, in a thread."""

from __future__ import annotations

import json
import queue
import socket
import socketserver
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes import daemon_images
from tests.fakes.daemon import CREATED, JSON, FakeDaemon, Refusal, view
from tests.fakes.daemon_exec import serve_exec


def conflict(
    brief: str, cause: str, code: str = "conflict", resolution: str = "banger ls"
) -> Refusal:
    return Refusal(409, code, brief, cause, resolution)


def wrong_state(vm: JSON, cause: str, verb: str) -> Refusal:
    resolution = f"banger {verb} {vm['name']}"
    return conflict(f"VM {vm['name']!r} is {vm['state']}", cause, resolution=resolution)


def stats_of(vm: JSON, looks: int) -> JSON:
    """Half a core, 1 MiB read and 2 MiB written a second; a user-mode network counts nothing."""
    second, counts = float(looks), vm["network"] == "tap"
    stats = {key: vm[key] for key in ("id", "name", "state", "vcpus", "uptime_seconds")}
    return stats | {
        "started_at": vm["started_at"] or CREATED,
        "read_at": 1000.0 + second,
        "cpu_seconds": 7.0 + 0.5 * second,
        "memory_bytes": vm["memory_mib"] << 20,
        "resident_bytes": 300 << 20,
        "proportional_bytes": 280 << 20,
        "disk_read_bytes": int(second) << 20,
        "disk_written_bytes": int(second) << 21,
        "overlay_bytes": vm["overlay_bytes"],
        "overlay_used_bytes": vm["overlay_used_bytes"],
        "received_bytes": 5000 * looks if counts else None,
        "sent_bytes": 3000 * looks if counts else None,
        "received_packets": 50 * looks if counts else None,
        "sent_packets": 30 * looks if counts else None,
        "received_drops": 0 if counts else None,
        "sent_drops": 0 if counts else None,
    }


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *arguments: object) -> None:
        pass

    def address_string(self) -> str:
        return "client"

    @property
    def fake(self) -> FakeDaemon:
        return self.server.fake

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_GET  # noqa: N815 - the base class wants these names
    do_PATCH = do_GET  # noqa: N815 - the base class wants these names
    do_DELETE = do_GET  # noqa: N815 - the base class wants these names

    def _serve(self) -> None:
        self.close_connection = True
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        body: Any = None
        length = int(self.headers.get("Content-Length") or 0)
        if length:
            body = json.loads(self.rfile.read(length))
        self.fake.requests.append((self.command, self.path, body))
        self.fake.headers.append({key.lower(): value for key, value in self.headers.items()})
        try:
            self._route(parts, query, body)
        except Refusal as refusal:
            self._json(refusal.body, refusal.status)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def _json(self, value: object, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _accepted(self, operation: JSON) -> None:
        self._json(view(operation), 202)

    def _begin_chunks(self, media: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")
        self.wfile.flush()

    def _route(self, parts: list[str], query: dict[str, str], body: Any) -> None:
        fake = self.fake
        match (self.command, *parts):
            case ("GET", ""):
                self._json(
                    {"name": "banger", "version": "0.1.0", "build": fake.build, "api": ["v1"],
                     "extensions": []}
                )  # fmt: skip
            case ("GET", "v1", "daemon"):
                self._json(self._daemon())
            case ("POST", "v1", "daemon", "stop"):
                self._json({}, 202)
                fake.stopped.set()
                threading.Thread(target=self.server.end, daemon=True).start()
            case ("GET", "v1", "vms"):
                self._json({"vms": [_only(vm, query) for vm in fake.vms.values()]})
            case ("POST", "v1", "vms"):
                self._create(body)
            case (method, "v1", "vms", ref, *rest):
                self._vm(method, fake.find(fake.vms, ref, "VM"), rest, query, body)
            case ("GET", "v1", "stats"):
                fake.looks += 1
                running = [vm for vm in fake.vms.values() if vm["state"] in ("running", "paused")]
                self._json({"stats": [stats_of(vm, fake.looks) for vm in running]})
            case ("GET", "v1", "images"):
                self._json({"images": list(fake.images.values())})
            case ("POST", "v1", "images"):
                self._build(body)
            case (
                "POST",
                "v1",
                "images:register" | "images:keep" | "images:import" | "images:customize" as verb,
            ):
                self._accepted(daemon_images.make(fake, verb.partition(":")[2], body))
            case ("GET", "v1", "images:prune"):
                self._json(daemon_images.prunable(fake))
            case ("POST", "v1", "images:prune"):
                self._json({"prunable": [daemon_images.REMAINS, daemon_images.CACHE]})
            case ("PATCH", "v1", "images", ref):
                image = fake.find(fake.images, ref, "image")
                self._accepted(daemon_images.rename(fake, image, body))
            case (method, "v1", "images", ref):
                self._image(method, fake.find(fake.images, ref, "image"))
            case ("GET", "v1", "operations"):
                found = [view(o) for o in fake.operations.values()]
                if query.get("active") == "true":
                    found = [o for o in found if o["status"] == "running"]
                self._json({"operations": found})
            case ("GET", "v1", "operations", ref):
                operation = fake.find(fake.operations, ref, "operation")
                deadline = time.monotonic() + float(query.get("wait", "0"))
                with fake.changed:
                    while operation["status"] == "running" and time.monotonic() < deadline:
                        fake.changed.wait(0.05)
                self._json(view(operation))
            case ("POST", "v1", "operations", ref, "cancel"):
                self._accepted(fake.cancel(fake.find(fake.operations, ref, "operation")))
            case ("GET", "v1", "events"):
                self._events(query.get("operation", ""))
            case _:
                raise Refusal(404, "not_found", f"no route {self.path}")

    def _daemon(self) -> JSON:
        fake = self.fake
        return {
            "version": "0.1.0", "build": fake.build, "pid": 99, "uid": 1000,
            "socket": "/run/banger/bangerd.sock", "database": "/state/banger.db",
            "log": "/state/bangerd.log", "started_at": CREATED, "boot_id": "b",
            "vms_total": len(fake.vms),
            "vms_running": sum(vm["state"] == "running" for vm in fake.vms.values()),
            "drivers": {
                "vmm": {"name": "qemu", "reason": "no Firecracker", "accelerator": "tcg",
                        "version": "7.2"},
                "storage": {"name": "qcow2", "reason": "no device-mapper"},
                "network": {"name": "tap", "reason": "banger is root"},
            },
        }  # fmt: skip

    def _create(self, body: JSON) -> None:
        fake = self.fake
        key = self.headers.get("Idempotency-Key") or ""
        if key in fake.keys:
            self._accepted(fake.operations[fake.keys[key]])
            return
        name = body.get("name") or f"calm-otter-{len(fake.vms)}"
        if any(vm["name"] == name for vm in fake.vms.values()):
            raise conflict(f"the name {name!r} is taken", "a VM has it", code="already_exists")
        wanted = {k: v for k, v in body.items() if k not in ("name",)}
        vm = fake.add_vm(name, **wanted)
        if not vm["image"] and not vm.get("rootfs"):
            vm["image"] = "debian"
        if vm["network"] == "auto":
            vm["network"] = "tap"

        def undo() -> None:
            fake.vms.pop(vm["id"], None)

        operation = fake.operate(
            "vm.create", vm, lambda: None, ("allocate address", "make disk"), undo
        )
        if key:
            fake.keys[key] = operation["id"]
        self._accepted(operation)

    def _build(self, body: JSON) -> None:
        name = body.get("name", "debian")
        image = {"id": "feedfeedfeed", "name": name}
        if not body.get("rebuild") and any(i["name"] == name for i in self.fake.images.values()):
            raise conflict(
                f"the image {name!r} exists", "it was built before", code="already_exists"
            )
        self._accepted(
            self.fake.operate(
                "image.build",
                image,
                lambda: cast("None", self.fake.add_image(name, id="feedfeedfeed")),
                ("download packages", "make file system"),
            )
        )

    def _image(self, method: str, image: JSON) -> None:
        if method == "GET":
            self._json(image)
            return
        if image["used_by"]:
            raise conflict(f"the image {image['name']!r} is in use", ", ".join(image["used_by"]))
        self._accepted(
            self.fake.operate("image.delete", image, lambda: self._drop(self.fake.images, image))
        )

    @staticmethod
    def _drop(table: dict[str, JSON], item: JSON) -> None:
        table.pop(item["id"], None)

    def _vm(self, method: str, vm: JSON, rest: list[str], query: dict[str, str], body: Any) -> None:
        fake = self.fake
        states = {"start": "running", "stop": "stopped", "kill": "stopped", "restart": "running",
                  "pause": "paused", "resume": "running"}  # fmt: skip
        match (method, *rest):
            case ("GET",):
                self._json(vm)
            case ("PATCH",):
                self._accepted(fake.operate("vm.rename", vm, lambda: vm.update(name=body["name"])))
            case ("DELETE",):
                if vm["state"] == "running" and query.get("force") != "true":
                    raise wrong_state(vm, "only a stopped VM is deleted", "rm -f")
                self._accepted(fake.operate("vm.delete", vm, lambda: self._drop(fake.vms, vm)))
            case ("POST", ("start" | "stop" | "kill" | "restart" | "pause" | "resume") as action):
                if vm["state"] == states[action] and action != "restart":
                    raise wrong_state(vm, f"{action} is not possible in this state", "show")
                steps = ("start VMM", "wait for SSH") if action == "start" else ()
                state = states[action]
                self._accepted(
                    fake.operate(
                        f"vm.{action}",
                        vm,
                        lambda: vm.update(state=state, uptime_seconds=3.0, pid=4242),
                        steps,
                    )
                )
            case ("POST", ("set" | "clone" | "rebuild") as action):
                if vm["state"] != "stopped":
                    raise wrong_state(vm, f"{action} is not possible in this state", "stop")
                self._accepted(fake.change(vm, action, body))
            case ("POST", "nat"):
                self._accepted(fake.operate("vm.nat", vm, lambda: vm.update(nat=body["up"])))
            case ("POST", "forward"):
                self._accepted(fake.operate("vm.forward", vm, lambda: fake.forward(vm, body)))
            case ("GET", "access"):
                if vm["state"] != "running":
                    raise wrong_state(vm, "only a running VM can be reached", "start")
                self._json(
                    {"id": vm["id"], "name": vm["name"], "state": vm["state"],
                     "address": vm["address"], "user": "root", "host": vm["ssh_host"],
                     "port": vm["ssh_port"], "key": "/state/ssh/id_ed25519",
                     "known_hosts": "/state/ssh/known_hosts", "host_alias": vm["id"],
                     "ssh": fake.ssh_argv, "agent": fake.agent,
                     "console_socket": vm.get("console_socket", "/nowhere"),
                     "console_log": "/state/console.log"}
                )  # fmt: skip
            case ("GET", "logs"):
                self._logs(query)
            case ("POST", "exec"):
                if not fake.agent:
                    raise conflict("the guest has no agent", "it lacks python3", code="no_agent")
                if vm["state"] != "running":
                    raise wrong_state(vm, "only a running VM can be reached", "start")
                self._begin_chunks("application/vnd.banger.stream")
                serve_exec(fake, self.rfile, self._chunk)
                self.wfile.write(b"0\r\n\r\n")
            case _:
                raise Refusal(404, "not_found", f"no route {self.path}")

    def _logs(self, query: dict[str, str]) -> None:
        self._begin_chunks("text/plain")
        data = self.fake.logs
        if count := int(query.get("lines", "0")):
            data = b"".join(data.splitlines(keepends=True)[-count:])
        if data:
            self._chunk(data)
        if query.get("follow") == "true":
            for piece in self.fake.follow_logs:
                self._chunk(piece)
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, kind: str, data: JSON) -> None:
        self._chunk(f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode())

    def _events(self, operation_id: str) -> None:
        self._begin_chunks("text/event-stream")
        listener = self.fake.listen()
        self._chunk(b": hello\n\n")
        if not operation_id:
            for kind, data in self.fake.events:
                self._event(kind, data)
            while self.fake.events_live:
                try:
                    self._event(*listener.get(timeout=0.05))
                except queue.Empty:
                    self._chunk(b": alive\n\n")
            self.wfile.write(b"0\r\n\r\n")
            return
        operation = self.fake.find(self.fake.operations, operation_id, "operation")
        self._event("operation", view({**operation, "status": "running"}))
        if self.fake.cuts > 0:
            self.fake.cuts -= 1
            return
        for step in operation["steps"]:
            for phase in ("intent", step["phase"]):
                self._event("step", {"operation_id": operation_id, **step, "phase": phase})
        with self.fake.changed:
            while operation["status"] == "running":
                self.fake.changed.wait(0.05)
                self._chunk(b": alive\n\n")
        self._event("operation", view(operation))
        self.wfile.write(b"0\r\n\r\n")


def _only(vm: JSON, query: dict[str, str]) -> JSON:
    fields = query.get("fields", "")
    return {key: vm[key] for key in fields.split(",")} if fields else vm


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Serves one fake daemon in a thread."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, fake: FakeDaemon):
        self.fake = fake
        fake.socket_path.parent.mkdir(parents=True, exist_ok=True)
        self._open: set[socket.socket] = set()
        super().__init__(str(fake.socket_path), Handler)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self._ended = threading.Lock()
        self._done = False

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def end(self) -> None:
        """Go away as a killed process does: the socket is silent, connections are cut."""
        with self._ended:
            if not self._done:
                self._done = True
                self.shutdown()
                self.thread.join()
                self.server_close()
                self.fake.socket_path.unlink(missing_ok=True)
                for connection in list(self._open):
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""
