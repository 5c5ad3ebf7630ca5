"""The figures of a real guest move when it works."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

from tests.plugins.home import Home, program
from tests.requirements import needs


def look(banger: Home) -> dict[str, Any]:
    [shown] = banger.json("stats", "web")
    return dict(shown)


def until_ended(banger: Home, name: str) -> int:
    done = subprocess.run(
        [*program(), "wait", name, "--for", "stopped", "--timeout", "60s"],
        env=banger.environment, check=False, capture_output=True,
    )  # fmt: skip
    return done.returncode


@needs("qemu", "image")
def test_cpu_disk_and_network_move_with_the_guest(
    banger_with_image: Home, leaves_nothing: Callable[[], None]
) -> None:
    banger = banger_with_image
    banger.ok("run", "--name", "web", "--vcpu", "1")
    assert banger.ok("wait", "web", "--for", "agent", "--timeout", "60s") == "web\n"
    before = look(banger)
    assert before["uptime_seconds"] > 0
    assert 32 << 20 < before["proportional_bytes"] <= before["resident_bytes"]
    assert before["disk_read_bytes"] > 1 << 20
    assert 0 < before["overlay_used_bytes"] < before["overlay_bytes"]
    banger.ok("exec", "web", "--", "dd", "if=/dev/zero", "of=/root/x", "bs=1M", "count=8",
              "conv=fsync")  # fmt: skip
    after = look(banger)
    assert after["disk_written_bytes"] - before["disk_written_bytes"] >= 8 << 20
    assert after["overlay_used_bytes"] - before["overlay_used_bytes"] >= 8 << 20
    assert after["cpu_seconds"] > before["cpu_seconds"]
    if before["received_bytes"] is not None:
        banger.ok("ssh", "web", "--", "true")
        talked = look(banger)
        assert talked["received_packets"] > before["received_packets"]
        assert talked["sent_bytes"] > before["sent_bytes"]
    spin = subprocess.Popen(
        [*program(), "exec", "web", "--", "timeout", "20", "sh", "-c", "while :; do :; done"],
        env=banger.environment, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 15
        while (busy := look(banger)["cpu_percent"]) < 30:
            assert time.monotonic() < deadline, f"a guest that spins takes {busy} % of a core"
    finally:
        spin.terminate()
        spin.wait(30)
    lines = banger.ok("stats", "--format", "jsonl").splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["web"]
    banger.ok("kill", "web")
    assert until_ended(banger, "web") == 0
    refused = banger("stats", "web")
    assert refused.status == 5
    assert "it is stopped" in refused.stderr
    banger.ok("rm", "web")
