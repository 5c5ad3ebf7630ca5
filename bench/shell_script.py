"""Starts of tiny guests as a shell script makes them by hand: a spawn, and curl for each call."""

from __future__ import annotations

import asyncio
import json
import subprocess

from banger.drivers.vmm.base import BootSpec
from banger.drivers.vmm.firecracker import bodies
from banger.drivers.vmm.firecracker.version import parse_version
from banger.host.firecracker_binary import FirecrackerBinary
from bench.tiny_starts import Start

#: As Firecracker's own introduction has it; prints the pid. Arguments: paths and bodies in turn.
_SCRIPT = """\
program=$0 id=$1; shift
touch log metrics
"$program" --id "$id" --api-sock monitor.sock --log-path log </dev/null >console.log 2>&1 &
pid=$!
until [ -S monitor.sock ]; do sleep 0.002; done
while [ $# -gt 0 ]; do
    curl --silent --show-error --fail --unix-socket monitor.sock -X PUT \
        -H 'Content-Type: application/json' -d "$2" "localhost$1"
    shift 2
done
echo $pid
"""


def scripted_starter(program: FirecrackerBinary) -> Start:
    """Starts with nothing of banger but the bodies of the calls."""
    version = parse_version(program.version)

    async def scripted(spec: BootSpec) -> int:
        arguments = [str(program.path), spec.process_name]
        for request in (*bodies.requests(spec, version), bodies.START):
            arguments += [request.path, json.dumps(request.document())]
        process = await asyncio.create_subprocess_exec(
            "sh", "-ec", _SCRIPT, *arguments, cwd=spec.kernel.parent, stdout=subprocess.PIPE
        )
        said, _ = await process.communicate()
        if process.returncode:
            raise SystemExit(f"the script ended with {process.returncode}")
        return int(said)

    return scripted
