"""A small bangerd for tests: speaks the HTTP API on a Unix socket, and keeps all state in memory."""

from __future__ import annotations

import json
import socketserver
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from banger.build import build_id

JSON = dict[str, Any]
CREATED = "2026-01-02T03:04:05Z"


class Refusal(Exception):
    """Answers a request with a problem body."""

    def __init__(self, status: int, code: str, brief: str, cause: str = "", resolution: str = ""):
        super().__init__(brief)
        self.status = status
        self.body = {
            "type": "about:blank",
            "title": code,
            "status": status,
            "detail": brief,
            "code": code,
            "brief": brief,
            "cause": cause,
            "resolution": resolution,
            "details": "",
        }


class FakeDaemon:
    """State and behaviour; ``steps`` scripts what operations do."""

    def __init__(self, socket_path: Path, guest: Path | None = None):
        self.socket_path = socket_path
        self.guest = guest
        self.build = build_id()
        self.vms: dict[str, JSON] = {}
        self.images: dict[str, JSON] = {}
        self.operations: dict[str, JSON] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        #: Operation kinds that fail, and with which problem.
        self.failures: dict[str, JSON] = {}
        #: Operation kinds that go on until cancelled.
        self.endless: set[str] = set()
        self.keys: dict[str, str] = {}
        self.agent = True
        self.stopped = threading.Event()
        self.logs = b"[    0.000000] Linux version 6.1\nlogin: \n"
        self.follow_logs: list[bytes] = []
        self.signals: list[int] = []
        self.ssh_argv = ["/bin/sh", "-c"]
        #: Events of ``/v1/events`` without an operation.
        self.events: list[tuple[str, JSON]] = []
        self.cuts = 0
        self._counter = 0
        self.changed = threading.Condition()

    # objects
    def add_vm(self, name: str, **changes: Any) -> JSON:
        self._counter += 1
        vm: JSON = {
            "id": f"{self._counter:04x}abcdef12",
            "name": name,
            "state": "stopped",
            "image": "debian",
            "image_id": "aaaabbbbcccc",
            "vcpus": 2,
            "memory_mib": 1024,
            "overlay_bytes": 8 * 1024**3,
            "overlay_used_bytes": 196608,
            "work_disk_bytes": 0,
            "vmm": "qemu",
            "storage": "qcow2",
            "network": "tap",
            "profile": "standard",
            "accelerator": "tcg",
            "address": f"172.20.0.{4 * self._counter + 2}",
            "mac": "02:00:00:00:00:01",
            "ssh_host": f"172.20.0.{4 * self._counter + 2}",
            "ssh_port": 22,
            "dns_name": "",
            "pid": 0,
            "created_at": CREATED,
            "started_at": None,
            "uptime_seconds": 0,
            "last_exit": None,
            "problem": None,
            "directory": f"/state/vms/{self._counter:04x}abcdef12",
            "generation": 1,
            "warnings": [],
        }
        vm.update(changes)
        if vm["state"] == "running":
            vm["pid"] = 4242
            vm["started_at"] = CREATED
            vm["uptime_seconds"] = vm["uptime_seconds"] or 75.0
        self.vms[vm["id"]] = vm
        return vm

    def add_image(self, name: str = "debian", **changes: Any) -> JSON:
        self._counter += 1
        image: JSON = {
            "id": f"{self._counter:04x}cafe0000",
            "name": name,
            "state": "ready",
            "suite": "bookworm",
            "size_bytes": 8 * 1024**3,
            "allocated_bytes": 700 * 1024**2,
            "rootfs_sha256": "ab" * 32,
            "kernel_version": "6.1.0-40-cloud-amd64",
            "packages_sha256": "cd" * 32,
            "drift": False,
            "used_by": [],
            "created_at": CREATED,
            "directory": "/state/images/x",
        }
        image.update(changes)
        self.images[image["id"]] = image
        return image

    def find(self, table: dict[str, JSON], ref: str, kind: str) -> JSON:
        for item in table.values():
            if item.get("name") == ref or item["id"] == ref:
                return item
        matches = [item for item in table.values() if len(ref) >= 4 and item["id"].startswith(ref)]
        if len(matches) == 1:
            return matches[0]
        raise Refusal(
            404,
            "not_found",
            f"there is no {kind} {ref!r}",
            "no name and no id matches",
            f"banger {kind.lower()} list",
        )

    # operations
    def operate(
        self,
        kind: str,
        target: JSON,
        effect: Callable[[], None],
        steps: tuple[str, ...] = (),
        undo: Callable[[], None] | None = None,
    ) -> JSON:
        self._counter += 1
        operation: JSON = {
            "id": f"0b{self._counter:02x}0000000a",
            "kind": kind,
            "target": {
                "kind": "image" if kind.startswith("image") else "vm",
                "id": target["id"],
                "name": target["name"],
            },
            "status": "running",
            "steps": [],
            "progress": None,
            "error": None,
            "result": {},
            "log": None,
            "created_at": CREATED,
            "ended_at": None,
        }
        self.operations[operation["id"]] = operation
        failure = self.failures.get(kind)
        titles = steps or (kind.partition(".")[2],)
        for position, title in enumerate(titles):
            done = failure is None and kind not in self.endless
            last = position == len(titles) - 1
            operation["steps"].append(
                {
                    "position": position,
                    "name": title.replace(" ", "-"),
                    "title": title,
                    "phase": "done" if done or not last else "intent",
                }
            )
        operation["_undo"] = undo
        if failure is not None:
            if undo:
                undo()
            operation.update(status="failed", error=failure, log="/state/operations/x.log")
        elif kind not in self.endless:
            effect()
            operation.update(status="succeeded", ended_at=CREATED)
        return operation

    def cancel(self, operation: JSON) -> JSON:
        with self.changed:
            if operation["status"] == "running":
                if operation["_undo"]:
                    operation["_undo"]()
                operation.update(status="cancelled", ended_at=CREATED)
            self.changed.notify_all()
        return operation


def view(operation: JSON) -> JSON:
    return {key: value for key, value in operation.items() if not key.startswith("_")}


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

    do_POST = do_PATCH = do_DELETE = do_GET

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
            case ("GET", "v1", "images"):
                self._json({"images": list(fake.images.values())})
            case ("POST", "v1", "images"):
                self._build(body)
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
            raise Refusal(
                409, "already_exists", f"the name {name!r} is taken", "a VM has it", "banger ls"
            )
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
            raise Refusal(409, "already_exists", f"the image {name!r} exists", "it was built before",
                          f"banger image build {name} --rebuild")  # fmt: skip
        self._accepted(
            self.fake.operate(
                "image.build",
                image,
                lambda: cast("None", self.fake.add_image(name)),
                ("download packages", "make file system"),
            )
        )

    def _image(self, method: str, image: JSON) -> None:
        if method == "GET":
            self._json(image)
            return
        if image["used_by"]:
            raise Refusal(409, "conflict", f"the image {image['name']!r} is in use",
                          "by " + ", ".join(image["used_by"]), "banger rm " + image["used_by"][0])  # fmt: skip
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
                    raise Refusal(409, "conflict", f"VM {vm['name']!r} is running",
                                  "only a stopped VM is deleted", f"banger rm -f {vm['name']}")  # fmt: skip
                self._accepted(fake.operate("vm.delete", vm, lambda: self._drop(fake.vms, vm)))
            case ("POST", ("start" | "stop" | "kill" | "restart" | "pause" | "resume") as action):
                if vm["state"] == states[action] and action != "restart":
                    raise Refusal(409, "conflict", f"VM {vm['name']!r} is {vm['state']}",
                                  f"{action} is not possible in this state", "banger ls")  # fmt: skip
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
            case ("GET", "access"):
                if vm["state"] != "running":
                    raise Refusal(409, "conflict", f"VM {vm['name']!r} is {vm['state']}",
                                  "only a running VM can be reached", f"banger start {vm['name']}")  # fmt: skip
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
                    raise Refusal(409, "no_agent", "the guest has no agent", "it lacks python3",
                                  f"banger ssh {vm['name']}")  # fmt: skip
                if vm["state"] != "running":
                    raise Refusal(409, "conflict", f"VM {vm['name']!r} is {vm['state']}",
                                  "only a running VM can be reached", f"banger start {vm['name']}")  # fmt: skip
                self._exec()
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
        self._chunk(b": hello\n\n")
        if not operation_id:
            for kind, data in self.fake.events:
                self._event(kind, data)
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

    # exec
    def _frames(self) -> Iterator[tuple[int, bytes]]:
        buffer = b""
        while True:
            size = int(self.rfile.readline().strip() or b"0", 16)
            buffer += self.rfile.read(size)
            self.rfile.readline()
            if not size:
                return
            while len(buffer) >= 5:
                channel, length = struct.unpack(">BI", buffer[:5])
                if len(buffer) < 5 + length:
                    break
                yield channel, buffer[5 : 5 + length]
                buffer = buffer[5 + length :]

    def _exec(self) -> None:
        frames = self._frames()
        _, first = next(frames)
        argv = json.loads(first)["argv"]
        lock = threading.Lock()
        self._begin_chunks("application/vnd.banger.stream")

        def send(channel: int, payload: bytes) -> None:
            with lock:
                self._chunk(struct.pack(">BI", channel, len(payload)) + payload)

        try:
            child = subprocess.Popen(
                argv,
                cwd=self.fake.guest,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            send(0, json.dumps({"error": {"code": "failed", "brief": f"{argv[0]} cannot be run",
                                          "cause": str(error.strerror), "resolution": "banger ssh x",
                                          "details": ""}}).encode())  # fmt: skip
            self.wfile.write(b"0\r\n\r\n")
            return
        threading.Thread(target=self._feed, args=(frames, child), daemon=True).start()

        def pump(channel: int, stream: Any) -> None:
            while data := stream.read1(65536):
                send(channel, data)

        pumps = [threading.Thread(target=pump, args=(c, s))
                 for c, s in ((1, child.stdout), (2, child.stderr))]  # fmt: skip
        for thread in pumps:
            thread.start()
        for thread in pumps:
            thread.join()
        status = child.wait()
        for stream in (child.stdout, child.stderr, child.stdin):
            try:
                if stream is not None:
                    stream.close()
            except BrokenPipeError:
                pass
        send(0, json.dumps({"exit": status if status >= 0 else 128 - status}).encode())
        self.wfile.write(b"0\r\n\r\n")

    def _feed(self, frames: Iterator[tuple[int, bytes]], child: subprocess.Popen[bytes]) -> None:
        try:
            for channel, payload in frames:
                if channel == 0:
                    number = json.loads(payload)["signal"]
                    self.fake.signals.append(number)
                    child.send_signal(number)
                elif child.stdin is not None and not child.stdin.closed:
                    if payload:
                        child.stdin.write(payload)
                        child.stdin.flush()
                    else:
                        child.stdin.close()
        except (OSError, ValueError):
            pass


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
        super().__init__(str(fake.socket_path), Handler)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self._ended = threading.Lock()
        self._done = False

    def end(self) -> None:
        with self._ended:
            if not self._done:
                self._done = True
                self.shutdown()
                self.thread.join()
                self.server_close()
                self.fake.socket_path.unlink(missing_ok=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""
