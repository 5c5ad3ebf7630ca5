from __future__ import annotations

import json
import re

from tests.fakes.cli_home import CLIHome
from tests.fakes.golden import assert_golden


def without_ages(text: str) -> str:
    return re.sub(r"\b\d+[smhd](\d+[smhd])?( ago|$)", r"AGE\2", text, flags=re.M)


def test_show(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running", work_disk_bytes=16 * 1024**3, dns_name="web.vm")
    banger.fake.add_vm(
        "db",
        last_exit={"reason": "vmm-died", "at": "2026-01-02T03:04:05Z", "detail": "signal 9"},
        problem={
            "code": "vmm_failed",
            "brief": "the VMM of db ended without being asked to",
            "cause": "it was killed by signal 9, as the kernel does when the host is out of memory",
            "resolution": "banger start db",
        },
        warnings=["the overlay is 83 % full"],
    )
    result = banger("show", "web", "db")
    assert result.status == 0
    assert_golden("cli/show.txt", without_ages(result.stdout))
    assert json.loads(banger("vm", "inspect", "web", "--json").stdout)["name"] == "web"
    assert len(json.loads(banger("show", "web", "db", "--json").stdout)) == 2


def test_image_commands(banger: CLIHome) -> None:
    built = banger("image", "build", "small", "--size", "4G", "--suite", "trixie")
    assert (built.status, built.stdout) == (0, "built small (700 MiB on disk)\n")
    banger.fake.add_image("debian", drift=True, used_by=["web"])
    listed = banger("image", "ls")
    assert_golden("cli/images.txt", without_ages(listed.stdout))
    assert_golden("cli/image-show.txt", without_ages(banger("image", "show", "debian").stdout))
    assert json.loads(banger("image", "show", "small", "--json").stdout)["name"] == "small"
    assert len(json.loads(banger("image", "list", "--json").stdout)) == 2
    again = banger("image", "build", "small")
    assert again.status == 5
    used = banger("image", "delete", "debian", "small", "smal")
    assert used.status == 8
    assert used.stdout == "deleted image small\n"
    assert "web" in used.stderr


def test_package_lists(banger: CLIHome) -> None:
    path = banger.root / "packages.apt"
    path.write_text("# mine\nvim\n\ngit\n")
    assert banger("image", "build", "x", "--packages", str(path), "-q").stdout == "x\n"
    assert banger.sent("POST", "/v1/images")[0]["packages"] == ["# mine", "vim", "", "git"]
    path.write_bytes(b"\xff\xfe")
    result = banger("image", "build", "y", "--packages", str(path))
    assert (result.status, len(result.stderr.splitlines())) == (2, 3)


def test_operations(banger: CLIHome) -> None:
    banger.fake.add_image()
    banger.fake.failures["vm.start"] = {"code": "vmm_failed", "brief": "QEMU ended"}
    banger("run", "--name", "web")
    listed = banger("op", "ls", "-c", "id,kind,target,status,took,error")
    assert_golden("cli/operations.txt", listed.stdout)
    identities = banger("operation", "list", "-q").stdout.split()
    assert len(identities) == 2
    shown = banger("op", "show", identities[1]).stdout
    assert "error    QEMU ended\n" in shown
    assert banger("op", "wait", identities[0]).stdout == "create web: succeeded\n"
    assert banger("op", "wait", identities[1]).status == 1
    assert banger("op", "wait", identities[0][:5]).status == 0
    assert banger("op", "show", "ffff").status == 4
    assert json.loads(banger("op", "show", identities[0], "--json").stdout)["kind"] == "vm.create"


def test_cancel(banger: CLIHome) -> None:
    banger.fake.endless.add("vm.stop")
    vm = banger.fake.add_vm("web", state="running")
    operation = banger.fake.operate("vm.stop", vm, lambda: None)
    assert banger("op", "cancel", operation["id"]).stdout == "stop web: cancelled\n"
    assert banger("op", "cancel", "ffff", operation["id"]).status == 8


def test_events(banger: CLIHome) -> None:
    banger.fake.events = [
        ("vm", {"id": "x", "name": "web", "state": "running"}),
        ("log", {"operation_id": "o", "title": "download", "fraction": 0.5, "detail": "3 MiB"}),
    ]
    lines = banger("events").stdout.splitlines()
    assert [line[10:] for line in lines] == [
        "vm        web: running",
        "log       o download 50% 3 MiB",
    ]
    objects = [json.loads(line) for line in banger("events", "--json").stdout.splitlines()]
    assert objects[0] == {"kind": "vm", "data": banger.fake.events[0][1]}
