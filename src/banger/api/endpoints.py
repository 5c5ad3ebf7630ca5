"""What each method of each resource takes and gives: the table behind the API description."""

from __future__ import annotations

from banger.api import bodies, requests, routes
from banger.api.endpoint import KEY, Endpoint, Parameter
from banger.api.image_endpoints import IMAGE_ENDPOINTS

_BOOLEAN: dict[str, object] = {"type": "boolean", "default": False}
_FIELDS = Parameter(
    "fields",
    {
        "type": "array",
        "items": {"enum": list(bodies.VM.__struct_fields__)},
        "minItems": 1,
    },
    "Names of VM fields separated by commas; only these are sent.",
)
_WAIT = Parameter(
    "wait",
    {"type": "number", "minimum": 0, "maximum": routes.MAX_WAIT, "default": 0},
    "Seconds to wait for the operation to end before answering.",
)
_LINES = Parameter(
    "lines",
    {"type": "integer", "minimum": 0, "maximum": 1_000_000, "default": 0},
    "How many lines from the end; 0 for all.",
)
_OPERATION = Parameter(
    "operation",
    {"type": "string", "pattern": "^[0-9a-f]{4,12}$"},
    "Replay this operation so far, follow it, and end the stream with it.",
)
_FRAMES = """The request (chunked) and the answer are streams of frames, both open at the same time:
one byte of channel, four bytes of big-endian length, payload of at most 1 MiB. Channel 0 carries
JSON. Up: first an `ExecStart` on channel 0; then channel 1 is stdin, an empty payload its end;
an `ExecSignal` on channel 0 sends a signal. Down: channel 1 is stdout, 2 stderr; the last
frame is `{"exit": STATUS}` or `{"error": {...}}` on channel 0. A guest without agent answers 409
with the code `no_agent`: use SSH (see `access`)."""
_EVENTS = """Server-sent events: `event` is `vm`, `vm-deleted`, `image`, `image-deleted`,
`operation`, `step` or `log`, `data` one JSON object: the VM, Image or Operation as their GET
gives it, for a step `{operation_id, position, name, title, phase}`, for progress inside a step
(`log`) `{operation_id, title, fraction, detail}`. A client that reads too slowly gets the event
`lost` and the end. A comment every 15 s shows that the stream is alive."""


def _act(action: str, summary: str, path: str, body: type, *, required: bool = False) -> Endpoint:
    return Endpoint(
        "POST",
        path,
        f"{action}VM",
        summary,
        202,
        bodies.Operation,
        body=body,
        body_required=required,
        errors=(504,),
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", routes.ROOT, "about", "What answers here", 200, bodies.About),
    Endpoint("GET", routes.DESCRIPTION, "description", "This description", 200),
    Endpoint("GET", routes.DAEMON, "daemon", "The daemon and its drivers", 200, bodies.Daemon),
    Endpoint(
        "POST",
        routes.DAEMON_STOP,
        "stopDaemon",
        "End the daemon; VMs go on",
        202,
        requests.Nothing,
        body=requests.Nothing,
        body_required=False,
    ),
    Endpoint("GET", routes.VMS, "listVMs", "All VMs", 200, bodies.VMs, parameters=(_FIELDS,)),
    Endpoint(
        "POST",
        routes.VMS,
        "createVM",
        "Make a VM",
        202,
        bodies.Operation,
        body=requests.CreateVM,
        parameters=(KEY,),
        errors=(404,),
    ),
    Endpoint("GET", routes.VM, "getVM", "One VM", 200, bodies.VM),
    Endpoint(
        "PATCH", routes.VM, "renameVM", "Rename a VM", 202, bodies.Operation, body=requests.RenameVM
    ),
    Endpoint(
        "DELETE",
        routes.VM,
        "deleteVM",
        "Delete a VM; a running one only by force",
        202,
        bodies.Operation,
        parameters=(Parameter("force", _BOOLEAN, "Kill it first if it runs."),),
    ),
    _act("start", "Start a VM", routes.VM_START, requests.StartVM),
    _act("stop", "Ask the guest to end, then end the VMM", routes.VM_STOP, requests.StopVM),
    _act("kill", "End the VMM at once", routes.VM_KILL, requests.Nothing),
    _act("restart", "Stop and start a VM", routes.VM_RESTART, requests.StartVM),
    _act("pause", "Halt the virtual CPUs", routes.VM_PAUSE, requests.Nothing),
    _act("resume", "Let the virtual CPUs go on", routes.VM_RESUME, requests.Nothing),
    _act("set", "Change memory, CPUs, disks", routes.VM_SET, requests.SetVM, required=True),
    _act("clone", "Copy a stopped VM", routes.VM_CLONE, requests.CloneVM, required=True),
    _act("rebuild", "Replace its root file system", routes.VM_REBUILD, requests.RebuildVM),
    Endpoint(
        "POST",
        routes.VM_NAT,
        "natVM",
        "Let a VM reach the internet, or keep it from it",
        202,
        bodies.Operation,
        body=requests.SetNat,
    ),
    Endpoint(
        "POST",
        routes.VM_FORWARD,
        "forwardVM",
        "Publish a port of a VM on the host, or take it back",
        202,
        bodies.Operation,
        body=requests.PublishPort,
    ),
    Endpoint(
        "GET", routes.VM_ACCESS, "accessVM", "How to reach it", 200, bodies.Access, errors=(409,)
    ),
    Endpoint(
        "GET",
        routes.VM_LOGS,
        "logsOfVM",
        "The serial console's log",
        200,
        media_type="text/plain",
        parameters=(
            Parameter("follow", _BOOLEAN, "Go on with new lines as they come."),
            _LINES,
        ),
    ),
    Endpoint(
        "POST",
        routes.VM_EXEC,
        "executeInVM",
        "Run a command in the guest",
        200,
        media_type=routes.FRAMES,
        body=bytes,
        body_type=routes.FRAMES,
        description=_FRAMES,
        errors=(409, 504),
    ),
    Endpoint(
        "GET", routes.VM_STATS, "statsOfVM", "What a VM uses", 200, bodies.Stats, errors=(409,)
    ),
    Endpoint("GET", routes.STATS, "stats", "What all running VMs use", 200, bodies.AllStats),
    *IMAGE_ENDPOINTS,
    Endpoint(
        "GET",
        routes.OPERATIONS,
        "listOperations",
        "Operations, ended ones too",
        200,
        bodies.Operations,
        parameters=(Parameter("active", _BOOLEAN, "Only those that run."),),
    ),
    Endpoint(
        "GET",
        routes.OPERATION,
        "getOperation",
        "One operation",
        200,
        bodies.Operation,
        parameters=(_WAIT,),
    ),
    Endpoint(
        "POST",
        routes.OPERATION_CANCEL,
        "cancelOperation",
        "Stop an operation and undo what it made",
        202,
        bodies.Operation,
        body=requests.Nothing,
        body_required=False,
    ),
    Endpoint(
        "GET",
        routes.EVENTS,
        "events",
        "What happens, as it happens",
        200,
        media_type=routes.EVENT_STREAM,
        description=_EVENTS,
        parameters=(_OPERATION,),
        errors=(404,),
    ),
)
