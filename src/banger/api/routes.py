"""The version of the API, its extensions and the path of every resource."""

from __future__ import annotations

VERSIONS = ("v1",)
#: Names of abilities added since ``v1``; a client asks here, never for a version number.
EXTENSIONS: tuple[str, ...] = ("stats",)

ROOT = "/"
DESCRIPTION = "/openapi.json"
DAEMON = "/v1/daemon"
DAEMON_STOP = "/v1/daemon/stop"
VMS = "/v1/vms"
VM = "/v1/vms/{ref}"
VM_START = "/v1/vms/{ref}/start"
VM_STOP = "/v1/vms/{ref}/stop"
VM_KILL = "/v1/vms/{ref}/kill"
VM_RESTART = "/v1/vms/{ref}/restart"
VM_PAUSE = "/v1/vms/{ref}/pause"
VM_RESUME = "/v1/vms/{ref}/resume"
VM_SET = "/v1/vms/{ref}/set"
VM_CLONE = "/v1/vms/{ref}/clone"
VM_REBUILD = "/v1/vms/{ref}/rebuild"
VM_NAT = "/v1/vms/{ref}/nat"
VM_FORWARD = "/v1/vms/{ref}/forward"
VM_ACCESS = "/v1/vms/{ref}/access"
VM_LOGS = "/v1/vms/{ref}/logs"
VM_STATS = "/v1/vms/{ref}/stats"
VM_EXEC = "/v1/vms/{ref}/exec"
STATS = "/v1/stats"
IMAGES = "/v1/images"
IMAGE = "/v1/images/{ref}"
IMAGE_REGISTER = "/v1/images:register"
IMAGE_CUSTOMIZE = "/v1/images:customize"
IMAGE_KEEP = "/v1/images:keep"
IMAGE_IMPORT = "/v1/images:import"
IMAGE_PRUNE = "/v1/images:prune"
OPERATIONS = "/v1/operations"
OPERATION = "/v1/operations/{id}"
OPERATION_CANCEL = "/v1/operations/{id}/cancel"
EVENTS = "/v1/events"

JSON = "application/json"
PROBLEM = "application/problem+json"
TEXT = "text/plain; charset=utf-8"
EVENT_STREAM = "text/event-stream"
FRAMES = "application/vnd.banger.stream"

IDEMPOTENCY_KEY = "Idempotency-Key"
#: Seconds that a long poll may last.
MAX_WAIT = 60.0
#: Bytes of a request body; streams are not counted.
MAX_BODY = 1024 * 1024
