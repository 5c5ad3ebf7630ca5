from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from banger.cli import doctor
from banger.cli.daemon import _last_lines
from banger.cli.topics import EXIT_CODES, TOPICS
from banger.cli.tree import commands
from banger.client import autostart
from banger.errors import families
from banger.host.choice import Choice, Chosen
from banger.host.finding import Check, Status
from banger.host.probe import Report
from tests.fakes.cli_home import CLIHome
from tests.fakes.golden import assert_golden

FINE = Check("qemu", "runs VMs", Status.OK, "QEMU 7.2", "", "everything")
POOR = Check(
    "kvm",
    "runs guests at the CPU's own speed",
    Status.WARN,
    "bare-elf: a bare guest ran, and the Linux kernel did not get as far as its console",
    "sudo modprobe kvm_amd",
    "fast VMs",
)
BAD = Check("disk space", "holds disks", Status.FAIL, "3 MiB free", "df -h /", "everything")
CHOICE = Choice(
    vmm=Chosen("qemu", "QEMU is installed"),
    accelerator=Chosen("tcg", "KVM was not seen to boot Linux"),
    storage=Chosen("qcow2", "it copies nothing"),
    network=Chosen("user", "banger does not run as root"),
)


def doctor_of(monkeypatch: pytest.MonkeyPatch, *checks: Check) -> None:
    usable = BAD not in checks
    monkeypatch.setattr(doctor, "examine", lambda *_, **__: Report(tuple(checks), CHOICE, usable))


def test_doctor(banger: CLIHome, monkeypatch: pytest.MonkeyPatch) -> None:
    doctor_of(monkeypatch, FINE, POOR, BAD)
    result = banger("doctor")
    assert result.status == 9
    assert_golden("cli/doctor.txt", result.stdout)
    data = json.loads(banger("doctor", "--json").stdout)
    assert (data["usable"], data["checks"][1]["status"]) == (False, "warn")
    assert data["drivers"]["network"]["name"] == "user"
    doctor_of(monkeypatch, FINE)
    assert banger("doctor").status == 0
    assert banger("doctor", "-q").stdout == "VMs can run here\n"
    assert not banger.fake.requests, "doctor does not need the daemon"


def test_daemon_status(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    shown = banger("daemon", "status")
    assert shown.status == 0
    assert "vmm driver      qemu 7.2 tcg: no Firecracker\n" in shown.stdout
    assert "vms             1, 1 running\n" in shown.stdout
    assert json.loads(banger("daemon", "status", "--json").stdout)["running"] is True
    assert banger("daemon", "start").stdout == "bangerd is running already\n"
    assert banger("daemon", "stop").stdout == "bangerd stopped; VMs go on running\n"
    assert banger("daemon", "stop").stdout == "bangerd is not running\n"
    gone = banger("daemon", "status")
    assert (gone.status, gone.stdout) == (3, "bangerd is not running; the next command starts it\n")
    assert json.loads(banger("daemon", "status", "--json").stdout)["running"] is False


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        ("start", 0, "bangerd started\n"),
        ("status", 3, "bangerd is not running; the next command starts it\n"),
    ],
)
def test_a_daemon_that_is_ending_does_not_run(
    banger: CLIHome, monkeypatch: pytest.MonkeyPatch, command: str, status: int, told: str
) -> None:
    """One that was killed a moment ago: the kernel takes a connection for it, and cuts it."""
    banger.server.end()
    monkeypatch.setattr(autostart, "start", lambda _: None)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(banger.fake.socket_path))
        listener.listen()

        def end() -> None:
            with listener.accept()[0] as connection:
                connection.recv(1)

        ending = threading.Thread(target=end)
        ending.start()
        shown = banger("daemon", command)
        ending.join()
    banger.fake.socket_path.unlink()
    assert (shown.status, shown.stdout, shown.stderr) == (status, told, "")


def test_daemon_logs(banger: CLIHome) -> None:
    assert banger("daemon", "logs").status == 4
    path = banger.root / "state/banger/bangerd.log"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"line {number}\n" for number in range(50)))
    assert banger("daemon", "logs", "-n", "2").stdout == "line 48\nline 49\n"


def test_last_lines_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"%06d\n" % number for number in range(100_000)))
    with path.open("rb") as file:
        lines = _last_lines(file, 50_000)
        assert (lines[0], lines[-1], len(lines)) == (b"050000\n", b"099999\n", 50_000)
        assert file.read() == b""


def test_version(banger: CLIHome) -> None:
    assert banger("--version").stdout == "banger 0.1.0\n"
    assert banger("version").stdout.splitlines()[1].startswith("bangerd 0.1.0 (")
    assert json.loads(banger("version", "--json").stdout)["daemon"]["version"] == "0.1.0"
    banger.server.end()
    assert banger("version").stdout.splitlines()[1] == "bangerd is not running"
    assert json.loads(banger("version", "--json").stdout)["daemon"] is None


#: Each command once, by the first of its names.
HELPED = {id(command): words for words, command in reversed(list(commands()))}.values()


@pytest.mark.parametrize("words", HELPED, ids=lambda words: "-".join(words) or "banger")
def test_help(banger: CLIHome, words: tuple[str, ...]) -> None:
    long, short = banger(*words, "--help"), banger(*words, "-h")
    assert long == short
    assert (long.status, long.stderr) == (0, "")
    assert max(map(len, long.stdout.splitlines())) <= 80
    assert_golden(f"cli/help/{'-'.join(words) or 'banger'}.txt", long.stdout)


def test_help_command(banger: CLIHome) -> None:
    assert banger("help").stdout.rstrip() == banger("--help").stdout.rstrip()
    assert (
        banger("help", "vm", "start").stdout.rstrip() == banger("vm", "start", "-h").stdout.rstrip()
    )
    assert banger("help", "exit-codes").stdout == EXIT_CODES.lstrip("\n")
    assert banger().stdout == banger("--help").stdout
    wrong = banger("help", "nothing")
    assert (wrong.status, len(wrong.stderr.splitlines())) == (2, 3)


def test_every_topic_fits_a_terminal(banger: CLIHome) -> None:
    for name in TOPICS:
        lines = banger("help", name).stdout.splitlines()
        assert max(map(len, lines)) <= 79, name


def test_every_exit_status_is_documented() -> None:
    documented = {
        int(line.split()[0]) for line in EXIT_CODES.splitlines() if line[:5].strip().isdigit()
    }
    assert {cls.exit_status for cls in families().values()} <= documented


def test_typos(banger: CLIHome) -> None:
    argvs = [
        ("lst",), ("vm", "strat"), ("frobnicate",), ("ls", "--jsno"), ("ls", "--format", "yaml"),
        ("image", "build", "--size"), ("rename", "x"), ("ls", "--sort"), ("vm",),
    ]  # fmt: skip
    text = ""
    for argv in argvs[:-1]:
        result = banger(*argv)
        assert (result.status, len(result.stderr.splitlines())) == (2, 3), argv
        text += f"$ banger {' '.join(argv)}\n{result.stderr}\n"
    assert_golden("cli/typos.txt", text)
    assert banger("vm").status == 0
