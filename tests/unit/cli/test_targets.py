from __future__ import annotations

import json

import pytest

from tests.fakes.cli_home import CLIHome
from tests.fakes.golden import assert_golden


def states(banger: CLIHome) -> dict[str, str]:
    return {str(vm["name"]): str(vm["state"]) for vm in banger.fake.vms.values()}


@pytest.mark.parametrize(
    ("verb", "before", "after", "done"),
    [
        ("start", "stopped", "running", "started"),
        ("stop", "running", "stopped", "stopped"),
        ("kill", "running", "stopped", "killed"),
        ("restart", "running", "running", "restarted"),
        ("pause", "running", "paused", "paused"),
        ("resume", "paused", "running", "resumed"),
    ],
)
def test_each_verb(banger: CLIHome, verb: str, before: str, after: str, done: str) -> None:
    banger.fake.add_vm("web", state=before)
    banger.fake.add_vm("db", state=before)
    result = banger("vm", verb, "web", "db")
    assert (result.status, result.stdout) == (0, f"{done} web\n{done} db\n")
    assert states(banger) == {"web": after, "db": after}


def test_all_takes_only_those_it_can_be_done_to(banger: CLIHome) -> None:
    for name, state in (("a", "stopped"), ("b", "running"), ("c", "failed"), ("d", "paused")):
        banger.fake.add_vm(name, state=state)
    assert banger("start", "--all", "-q").stdout == "a\nc\n"
    assert banger("vm", "resume", "--all").stdout == "resumed d\n"
    assert banger("vm", "resume", "--all").stderr == "no VM to resume\n"


def test_partly_failed(banger: CLIHome) -> None:
    banger.fake.add_vm("web")
    banger.fake.add_vm("db", state="running")
    result = banger("start", "web", "dbb", "db")
    assert (result.status, result.stdout) == (8, "started web\n")
    assert_golden("cli/start-partly-failed.txt", result.stderr)


def test_the_status_of_one_failure_is_its_own(banger: CLIHome) -> None:
    assert banger("start", "nope").status == 4
    assert banger("start", "nope", "neither").status == 4
    banger.fake.add_vm("web", state="running")
    assert banger("start", "web").status == 5
    assert banger("start", "web", "nope").status == 1


def test_did_you_mean(banger: CLIHome) -> None:
    banger.fake.add_vm("web-1")
    assert "did you mean web-1?" in banger("start", "web1").stderr
    assert "did you mean web-1?" in banger("show", "wbe-1").stderr
    assert "did you mean web-1?" in banger("logs", "web-2").stderr
    assert "did you mean web-1?" in banger("exec", "web-2", "true").stderr
    assert "did you mean web-1?" in banger("cp", "/etc/passwd", "web-2:/").stderr
    assert states(banger) == {"web-1": "stopped"}


def test_ids_and_patterns_and_repetitions(banger: CLIHome) -> None:
    vm = banger.fake.add_vm("web-1")
    banger.fake.add_vm("web-2")
    banger.fake.add_vm("db")
    assert banger("start", vm["id"][:6]).stdout == "started web-1\n"
    assert banger("kill", "web-1", "web-1").stdout == "killed web-1\n"
    assert banger("start", "web-*", "-q").stdout == "web-1\nweb-2\n"
    assert banger("start", "zz*").status == 4


def test_names_are_needed_and_exclude_all(banger: CLIHome) -> None:
    for argv in (("start",), ("start", "x", "--all"), ("rm",), ("show",), ("cp", "x")):
        result = banger(*argv)
        assert (result.status, len(result.stderr.splitlines())) == (2, 3), argv
    assert banger("start", "").status == 2
    assert banger("rm", "").status == 2
    assert not [m for m, *_ in banger.fake.requests if m not in ("GET",)]


def test_json_of_actions(banger: CLIHome) -> None:
    banger.fake.add_vm("web")
    operations = json.loads(banger("start", "web", "--json").stdout)
    assert [(o["kind"], o["status"]) for o in operations] == [("vm.start", "succeeded")]
    failed = banger("start", "web", "--json")
    assert json.loads(failed.stdout) == []
    assert json.loads(failed.stderr)["error"]["code"] == "conflict"


def test_delete(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    refused = banger("rm", "web")
    assert (refused.status, refused.stderr.splitlines()[2]) == (5, "  try:   banger rm -f web")
    assert banger("rm", "-f", "web").stdout == "deleted web\n"
    assert not banger.fake.vms


def test_delete_all_wants_a_yes(banger: CLIHome) -> None:
    banger.fake.add_vm("web")
    banger.fake.add_vm("db")
    banger.fake.add_vm("live", state="running")
    refused = banger("rm", "--all")
    assert (refused.status, refused.stderr.splitlines()[2]) == (2, "  try:   banger rm --all --yes")
    assert len(banger.fake.vms) == 3
    assert banger("vm", "delete", "--all", "--yes").stdout == "deleted web\ndeleted db\n"
    assert states(banger) == {"live": "running"}
    assert banger("rm", "--all").stderr == "no VM to delete (running ones need --force)\n"
    assert banger("rm", "--all", "--force").status == 0
    assert not banger.fake.vms


def test_rename(banger: CLIHome) -> None:
    banger.fake.add_vm("calm-otter")
    assert banger("rename", "calm-otter", "web").stdout == "renamed calm-otter to web\n"
    assert states(banger) == {"web": "stopped"}
    assert banger("rename", "web", "Not Good").status == 2
    assert banger("vm", "rename", "nope", "x").status == 4


def test_set(banger: CLIHome) -> None:
    banger.fake.add_vm("web")
    banger.fake.add_vm("db")
    banger.fake.add_vm("live", state="running")
    assert banger("vm", "set", "web", "--memory", "2G", "--vcpu", "4").stdout == "changed web\n"
    assert banger("vm", "set", "--all", "--disk-size", "4G", "-q").stdout == "web\ndb\n"
    assert banger.sent("POST", "/v1/vms/web/") == [{"vcpus": 4, "memory_mib": 2048}]
    nothing = banger("vm", "set", "web")
    assert (nothing.status, nothing.stderr.splitlines()[2]) == (
        2,
        "  try:   banger vm set web --memory 2G",
    )
    for option in (("--memory", "1"), ("--vcpu", "17"), ("--disk-size", "1"), ("--nope", "1")):
        assert banger("vm", "set", "web", *option).status == 2
    assert banger("vm", "set", "live", "--vcpu", "3").status == 5
    assert banger("vm", "set", "nope", "--vcpu", "3").status == 4


def test_clone(banger: CLIHome) -> None:
    banger.fake.add_vm("web", vcpus=3)
    assert banger("vm", "clone", "web", "copy").stdout == "cloned web to copy\n"
    assert states(banger) == {"web": "stopped", "copy": "stopped"}
    assert banger("vm", "clone", "web", "Not Good").status == 2
    assert banger("vm", "clone", "nope", "x").status == 4


def test_rebuild_wants_a_yes(banger: CLIHome) -> None:
    banger.fake.add_vm("web")
    banger.fake.add_vm("db")
    refused = banger("vm", "rebuild", "web", "--image", "other")
    assert refused.status == 2
    assert "throws away all that web wrote" in refused.stderr
    assert refused.stderr.splitlines()[2] == ("  try:   banger vm rebuild web --image other --yes")
    refused = banger("vm", "rebuild", "--all")
    assert refused.stderr.splitlines()[2] == "  try:   banger vm rebuild --all --yes"
    assert not banger.sent("POST", "/v1/vms/web/")
    done = banger("vm", "rebuild", "web", "--image", "other", "--yes")
    assert done.stdout == "rebuilt web\n"
    assert banger.sent("POST", "/v1/vms/web/") == [{"image": "other"}]
    assert banger("vm", "rebuild", "*", "--yes").stdout == "rebuilt web\nrebuilt db\n"


def test_timeouts_reach_the_daemon(banger: CLIHome) -> None:
    banger.fake.add_vm("web")
    banger("start", "web", "--timeout", "2m", "--no-wait")
    banger("stop", "web", "--timeout", "500ms")
    bodies = banger.sent("POST", "/v1/vms/web/")
    assert bodies == [{"wait": False, "timeout": 120.0}, {"timeout": 0.5}]
    banger("start", "web")
    banger("stop", "-f", "web")
    assert banger.fake.requests[-3][1].endswith("/kill") or any(
        path.endswith("/kill") for _, path, _ in banger.fake.requests
    )
