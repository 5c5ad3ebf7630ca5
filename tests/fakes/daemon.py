"""The state of a small bangerd for tests; ``daemon_server`` puts it on a Unix socket."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

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
        self.follow_logs: Iterable[bytes] = []
        self.signals: list[int] = []
        self.ssh_argv = ["/bin/sh", "-c"]
        #: Events of ``/v1/events`` without an operation.
        self.events: list[tuple[str, JSON]] = []
        #: Whether that stream goes on with what ``publish`` says, as the real one does.
        self.events_live = False
        self._listeners: list[queue.SimpleQueue[tuple[str, JSON]]] = []
        self.cuts = 0
        #: How often ``/v1/stats`` was asked for: a second of the fake VMs' life each.
        self.looks = 0
        self._counter = 0
        self.changed = threading.Condition()

    # events
    def publish(self, kind: str, data: JSON) -> None:
        """Tell everybody who follows ``/v1/events``."""
        for listener in list(self._listeners):
            listener.put((kind, json.loads(json.dumps(data))))

    def listen(self) -> queue.SimpleQueue[tuple[str, JSON]]:
        """What is published from now on."""
        listener: queue.SimpleQueue[tuple[str, JSON]] = queue.SimpleQueue()
        self._listeners.append(listener)
        return listener

    def _tell(self, target: JSON, operation: JSON) -> None:
        """What a real daemon publishes about an operation that ended."""
        kind = "image" if operation["kind"].startswith("image") else "vm"
        table = self.images if kind == "image" else self.vms
        if operation["kind"] == "image.build":
            target = next((i for i in table.values() if i["name"] == target["name"]), target)
        target = table.get(target["id"], target)
        gone = target["id"] not in table
        target["generation"] = target.get("generation", 0) + 1
        self.publish(f"{kind}-deleted" if gone else kind, target)
        self.publish("operation", view(operation))

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
            "nat": False,
            "isolated": False,
            "host_access": False,
            "restart": "no",
            "forwards": [],
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
            "docker": name == "docker-debian",
            "drift": False,
            "origin": "",
            "used_by": [],
            "created_at": CREATED,
            "directory": "/state/images/x",
        }
        image.update(changes)
        self.images[image["id"]] = image
        return image

    def change(self, vm: JSON, action: str, body: JSON) -> JSON:
        """Begin ``set``, ``clone`` or ``rebuild``."""
        if action == "clone":
            copied = ("state", "image", "vcpus", "memory_mib", "work_disk_bytes")
            vm = self.add_vm(body["name"], **{key: vm[key] for key in copied})
            body = {}
        return self.operate(f"vm.{action}", vm, lambda: vm.update(body))

    def forward(self, vm: JSON, body: JSON) -> None:
        """Publish a port or take it back."""
        port = {key: body[key] for key in ("protocol", "host_port", "guest_port")}
        kept = [other for other in vm["forwards"] if other != port]
        vm["forwards"] = kept if body.get("remove") else [*kept, port]

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
        self.publish("operation", view({**operation, "status": "running", "steps": []}))
        for step in operation["steps"]:
            self.publish("step", {"operation_id": operation["id"], **step})
        self._tell(target, operation)
        return operation

    def cancel(self, operation: JSON) -> JSON:
        with self.changed:
            if operation["status"] == "running":
                if operation["_undo"]:
                    operation["_undo"]()
                operation.update(status="cancelled", ended_at=CREATED)
            self.changed.notify_all()
        self.publish("operation", view(operation))
        return operation


def view(operation: JSON) -> JSON:
    return {key: value for key, value in operation.items() if not key.startswith("_")}
