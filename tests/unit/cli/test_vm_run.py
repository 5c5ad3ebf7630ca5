from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from tests.fakes.cli_home import CLIHome
from tests.fakes.golden import assert_golden

OPTIONS = [
    ("--name", "Web"),
    ("--name", ""),
    ("--name", "-x"),
    ("--name", "a" * 65),
    ("--vcpu", "0"),
    ("--vcpu", "17"),
    ("--vcpu", "two"),
    ("--vcpus", "1.5"),
    ("--ram", "63"),
    ("--ram", "33G"),
    ("--ram", "12X"),
    ("--memory", "-5"),
    ("--memory", "1.0001M"),
    ("--overlay-size", "1M"),
    ("--overlay-size", "3T"),
    ("--disk-size", "big"),
    ("--image", "No Such"),
    ("--rootfs", "/nonexistent"),
    ("--kernel", "/etc"),
    ("--initrd", "/dev/null"),
    ("--vmm", "vmware"),
    ("--storage", "zfs"),
    ("--network", "wifi"),
    ("--profile", "slow"),
    ("--timeout", "soon"),
    ("--timeout", "2h"),
    ("--nosuch", "1"),
]


@pytest.mark.parametrize(("option", "value"), OPTIONS)
def test_bad_options_are_refused_before_anything_is_made(
    banger: CLIHome, option: str, value: str
) -> None:
    result = banger("run", option, value)
    lines = result.stderr.splitlines()
    assert (result.status, result.stdout, len(lines)) == (2, "", 3), result.stderr
    assert [line[:8] for line in lines] == [lines[0][:8], "  cause:", "  try:  "]
    assert lines[0].startswith("error: ")
    assert not banger.fake.requests


def test_what_is_wrong_and_how_to_say_it(banger: CLIHome) -> None:
    asked = [
        ("run", "--ram", "64G"),
        ("run", "--vcpu", "99"),
        ("create", "--disk-size", "1K"),
        ("run", "--name", "My VM"),
        ("run", "--kernel", "/etc/hostname"),
        ("run", "--image", "x", "--kernel", "/etc/hostname", "--rootfs", "/etc/hostname"),
        ("run", "--rm"),
        ("run", "--json", "--", "true"),
        ("run", "debian"),
    ]
    text = "".join(f"$ banger {' '.join(argv)}\n{banger(*argv).stderr}\n" for argv in asked)
    assert_golden("cli/run-refusals.txt", text)


def test_run_tells_what_to_do_next(banger: CLIHome) -> None:
    banger.fake.add_image()
    result = banger("run", "--name", "web", "--ram", "1.5G", "--vcpu", "4", "--disk-size", "16G")
    assert result.status == 0
    assert_golden("cli/run.txt", result.stdout)
    assert banger.sent("POST", "/v1/vms") == [
        {"image": "debian", "name": "web", "vcpus": 4, "memory_mib": 1536,
         "work_disk_bytes": 16 * 1024**3},
        {"wait": True, "timeout": 120.0},
    ]  # fmt: skip


def test_a_dns_name_is_shown_only_if_there_is_one(banger: CLIHome) -> None:
    banger.fake.add_image()
    add = banger.fake.add_vm
    banger.fake.add_vm = lambda name, **c: add(name, **(c | {"dns_name": "web.vm"}))  # type: ignore[method-assign]
    assert "  name     web.vm\n" in banger("run", "--name", "web").stdout


def test_names_and_json(banger: CLIHome) -> None:
    banger.fake.add_image()
    assert banger("run", "-q", "--no-wait", "--name", "a").stdout == "a\n"
    assert banger.sent("POST", "/v1/vms")[-1]["wait"] is False
    made = json.loads(banger("create", "--json", "--name", "b").stdout)
    assert (made["name"], made["state"]) == ("b", "stopped")
    assert banger("create", "--name", "c").stdout == "created c\n"


def test_own_files(banger: CLIHome) -> None:
    file = banger.root / "file"
    file.write_text("x")
    assert banger("create", "--rootfs", str(file), "--kernel", str(file), "-q").status == 0
    body = banger.sent("POST", "/v1/vms")[0]
    assert body == {"rootfs": str(file), "kernel": str(file)}
    assert not banger.sent("GET", "/v1/images")


def test_the_default_image_is_built_first(banger: CLIHome) -> None:
    result = banger("run", "--name", "web")
    assert result.status == 0
    assert result.stderr.splitlines()[0].startswith("the image debian is built first")
    assert [i["name"] for i in banger.fake.images.values()] == ["debian"]
    assert banger.sent("POST", "/v1/images") == [{"name": "debian"}]


def test_docker_means_an_image_that_is_built_first(banger: CLIHome) -> None:
    result = banger("run", "--docker", "--name", "web")
    assert result.status == 0
    assert result.stderr.splitlines()[0].startswith("the image docker-debian is built first")
    assert banger.sent("POST", "/v1/images") == [{"name": "docker-debian"}]
    assert banger("create", "--docker", "--name", "db").status == 0
    bodies = [body for body in banger.sent("POST", "/v1/vms") if "image" in body]
    assert [body["image"] for body in bodies] == ["docker-debian"] * 2
    assert len(banger.sent("POST", "/v1/images")) == 1


@pytest.mark.parametrize("other", ["--image=work", "--rootfs=/dev/null"])
def test_docker_is_an_image_of_its_own(banger: CLIHome, other: str) -> None:
    (banger.root / "disk").write_text("x")
    other = other.replace("/dev/null", str(banger.root / "disk"))
    result = banger("run", "--docker", other)
    assert result.status == 2
    assert "exclude each other" in result.stderr
    assert not banger.sent("POST", "/v1/vms")


def test_the_preferred_release_is_built(banger: CLIHome) -> None:
    assert banger("create", BANGER_SUITE="trixie").status == 0
    assert banger("image", "build", "--docker", BANGER_SUITE="trixie").status == 0
    asked = ("image", "build", "work", "--suite", "bookworm")
    assert banger(*asked, BANGER_SUITE="trixie").status == 0
    assert banger.sent("POST", "/v1/images") == [
        {"name": "debian", "suite": "trixie"},
        {"name": "docker-debian", "rebuild": False, "docker": True, "suite": "trixie"},
        {"name": "work", "rebuild": False},
    ]


def test_another_image_is_not_built_by_itself(banger: CLIHome) -> None:
    result = banger("run", "--image", "other")
    assert result.status == 4
    assert result.stderr.splitlines()[2] == "  try:   banger image build other"


def test_a_build_that_runs_already_is_joined(banger: CLIHome) -> None:
    fake = banger.fake
    fake.endless.add("image.build")
    image = {"id": "feedfeedfeed", "name": "debian"}
    operation = fake.operate("image.build", image, lambda: None)

    def end() -> None:
        time.sleep(0.3)
        with fake.changed:
            fake.add_image()
            operation["status"] = "succeeded"
            fake.changed.notify_all()

    thread = threading.Thread(target=end)
    thread.start()
    result = banger("run", "-q", "--name", "web")
    thread.join()
    assert (result.status, result.stdout) == (0, "web\n")
    assert not banger.sent("POST", "/v1/images")


def test_drift_and_warnings_are_told(banger: CLIHome) -> None:
    banger.fake.add_image(drift=True)
    result = banger("create", "--name", "web")
    assert "banger image build debian --rebuild" in result.stderr


def test_preferences_count(banger: CLIHome) -> None:
    banger.fake.add_image("other")
    banger("create", BANGER_IMAGE="other", BANGER_NETWORK="user")
    assert banger.sent("POST", "/v1/vms") == [{"image": "other", "network": "user"}]
    settings = banger.root / "config/banger/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('imgae = "x"\n')
    assert "warning: unknown key 'imgae'" in banger("create").stderr


def test_a_command_gives_its_output_and_status(banger: CLIHome) -> None:
    banger.fake.add_image()
    result = banger("run", "--rm", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (result.status, result.stdout) == (7, "out\n")
    assert "err\n" in result.stderr
    assert not banger.fake.vms


def test_variables_reach_the_command(banger: CLIHome) -> None:
    banger.fake.add_image()
    file = banger.root / "env"
    file.write_text("# not for everybody\nTOKEN=a b=c\nLEVEL=1\n\nMINE\nNONE\n")
    argv = ("-e", "LEVEL=2", "--env-file", str(file), "--", "sh", "-c")
    line = "echo $TOKEN/$LEVEL/$MINE/${NONE-unset}"
    result = banger("run", "--rm", *argv, line, MINE="here")
    assert (result.status, result.stdout) == (0, "a b=c/2/here/unset\n"), result
    banger.fake.add_vm("web", state="running")
    result = banger("exec", "-e", "A=x y", "web", "--", "sh", "-c", "echo $A")
    assert result.stdout == "x y\n"
    # A guest without an agent gets them by SSH.
    banger.fake.agent = False
    result = banger("exec", "-e", "A=x y", "web", "--", "sh", "-c", '[ "$A" = "x y" ] && exit 7')
    assert result.status == 7


@pytest.mark.parametrize(
    "argv",
    [
        ("-e", "1A=x", "--", "true"),
        ("-e", "=x", "--", "true"),
        ("--env-file", "/nowhere", "--", "true"),
        ("--env-file", "BAD", "--", "true"),
        ("-e", "A=1"),
        ("-t",),
    ],
)
def test_odd_variables_are_refused_before_anything_is_made(
    banger: CLIHome, argv: tuple[str, ...]
) -> None:
    banger.fake.add_image()
    (banger.root / "bad").write_bytes(b"A\xff=1\n")
    words = [str(banger.root / "bad") if word == "BAD" else word for word in argv]
    result = banger("run", *words)
    assert (result.status, len(result.stderr.splitlines())) == (2, 3), result
    assert not banger.sent("POST")


def test_without_rm_the_vm_stays(banger: CLIHome) -> None:
    banger.fake.add_image()
    assert banger("run", "--", "true").status == 0
    assert len(banger.fake.vms) == 1


PROBLEM = {
    "code": "vmm_failed",
    "brief": "the VMM of web ended",
    "cause": "it was killed by signal 9",
    "resolution": "banger doctor",
    "details": "\n".join(f"line {number}" for number in range(40)),
}


def test_a_failed_start_keeps_the_vm_and_shows_the_log(banger: CLIHome) -> None:
    banger.fake.add_image()
    banger.fake.failures["vm.start"] = PROBLEM
    result = banger("run", "--name", "web")
    assert result.status == 1
    assert_golden("cli/run-failed-start.txt", result.stderr)
    assert [vm["name"] for vm in banger.fake.vms.values()] == ["web"]
    banger("rm", "web")
    assert banger("run", "--name", "web", "--rm", "--", "true").status == 1
    assert not banger.fake.vms


def test_errors_as_json(banger: CLIHome) -> None:
    banger.fake.add_image()
    banger.fake.failures["vm.create"] = PROBLEM
    error = json.loads(banger("run", "--json").stderr.splitlines()[-1])["error"]
    assert (error["code"], error["exit_status"]) == ("vmm_failed", 1)
    assert error["resolution"] == "banger doctor"
    usage = json.loads(banger("run", "--json", "--ram", "1").stderr)["error"]
    assert (usage["code"], usage["exit_status"]) == ("invalid_input", 2)


def test_a_taken_name(banger: CLIHome) -> None:
    banger.fake.add_image()
    banger.fake.add_vm("web")
    assert banger("run", "--name", "web").status == 5
    assert len(banger.fake.vms) == 1


@pytest.fixture
def unreadable(banger: CLIHome) -> Path:
    path = banger.root / "empty"
    path.touch()
    return path


def test_an_empty_file_is_refused(banger: CLIHome, unreadable: Path) -> None:
    result = banger("create", "--kernel", str(unreadable), "--rootfs", "/etc/passwd")
    assert result.stderr.splitlines()[1] == "  cause: the file is empty"
