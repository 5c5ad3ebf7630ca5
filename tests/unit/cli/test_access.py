from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from banger.cli.expected_lines import why_expected
from banger.cli.logs import render_line, whole_lines
from banger.cli.ssh import remote_command, without_separator
from tests.fakes.cli_home import CLIHome

ALL_BYTES = bytes(range(256)) * 5000


def test_exec_passes_everything_on(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    result = banger("exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert result == (7, "out\n", "err\n")
    assert banger("exec", "web", "cat", stdin=b"in\n").stdout == "in\n"
    assert banger("exec", "-n", "web", "cat", stdin=b"in\n").stdout == ""
    assert banger("exec", "web", "echo", "--debug", "-t", "--").stdout == "--debug -t --\n"
    assert banger("vm", "exec", "web", "--", "sh", "-c", "kill -9 $$").status == 137


def test_exec_is_binary_safe(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    done = subprocess.run(
        [sys.executable, "-m", "banger", "exec", "web", "--", "cat"],
        input=ALL_BYTES,
        capture_output=True,
        env=os.environ | banger.environment,
        check=False,
    )
    assert (done.returncode, done.stdout == ALL_BYTES, done.stderr) == (0, True, b"")


def test_failures_of_banger_are_125(banger: CLIHome) -> None:
    banger.fake.add_vm("web")
    for argv in (("exec", "web", "true"), ("exec", "nope", "true"), ("ssh", "web"), ("ssh", "no")):
        result = banger(*argv)
        assert (result.status, len(result.stderr.splitlines())) == (125, 3), argv
    nothing = banger("exec", "web")
    assert (nothing.status, nothing.stderr.splitlines()[2]) == (2, "  try:   banger ssh web")
    banger("start", "web")
    assert banger("exec", "web", "--", "/no/such/program").status == 125


def test_interrupts_go_to_the_guest(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    child = subprocess.Popen(
        [sys.executable, "-m", "banger", "exec", "-n", "web", "--", "sh", "-c", script],
        stdout=subprocess.PIPE,
        env=os.environ | banger.environment,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGINT)
    assert child.stdout.read() == b"caught\n"
    child.stdout.close()
    assert child.wait() == 9
    assert banger.fake.signals == [2]


def test_a_closed_reader_is_quiet(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    done = subprocess.run(
        f"{sys.executable} -m banger exec -n web -- yes | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        env=os.environ | banger.environment,
        check=False,
    )
    assert (done.stdout, done.stderr) == (b"y\n141\n", b"")


@pytest.fixture
def fake_ssh(banger: CLIHome) -> Path:
    """A program in the place of OpenSSH that prints how it was called."""
    path = banger.root / "ssh"
    path.write_text('#!/bin/sh\necho "$@"\n[ "$SLOW" ] && cat\nexit 3\n')
    path.chmod(0o755)
    banger.fake.ssh_argv = [str(path), "-p", "22", "root@172.20.0.6"]
    return path


def call(banger: CLIHome, *argv: str, **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "banger", *argv],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | banger.environment | variables,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.usefixtures("fake_ssh")
def test_ssh_becomes_openssh(banger: CLIHome) -> None:
    vm = banger.fake.add_vm("web", state="running")
    assert call(banger, "ssh", "web") == (3, "-p 22 root@172.20.0.6\n")
    assert call(banger, "ssh", vm["address"], "--", "ls", "a b") == (
        3,
        "-p 22 root@172.20.0.6 -- ls 'a b'\n",
    )
    assert call(banger, "ssh", "-t", "web", "top") == (3, "-t -p 22 root@172.20.0.6 -- top\n")
    assert call(banger, "exec", "-it", "web", "--", "top") == (
        3,
        "-t -p 22 root@172.20.0.6 -- top\n",
    )
    status, text = call(banger, "ssh", "10.9.9.9")
    assert (status, text.splitlines()[0]) == (125, "error: no VM has the address 10.9.9.9")


@pytest.mark.usefixtures("fake_ssh")
def test_without_an_agent_exec_goes_by_ssh(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    banger.fake.agent = False
    said = "-p 22 root@172.20.0.6 -- echo 'a b'\n"
    assert call(banger, "exec", "web", "--", "echo", "a b") == (3, said)


@pytest.mark.parametrize(
    ("reason", "expected"), [("guest-shutdown", 0), ("guest-reboot", 0), ("guest-panic", 255)]
)
@pytest.mark.parametrize("verb", ["ssh", "exec"])
def test_a_power_off_by_ssh_has_succeeded_when_the_guest_is_down(
    banger: CLIHome, fake_ssh: Path, verb: str, reason: str, expected: int
) -> None:
    fake_ssh.write_text("#!/bin/sh\necho closed by remote host >&2\nexit 255\n")
    vm = banger.fake.add_vm("web", state="running")
    banger.fake.agent = False
    child = subprocess.Popen(
        [sys.executable, "-m", "banger", verb, "web", "--", "poweroff"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=os.environ | banger.environment,
    )
    looks = 0
    deadline = time.monotonic() + 20
    # Once before the command, and again and again after it.
    while looks < 3:
        paths = [path for _, path, _ in banger.fake.requests]
        looks = sum(path.partition("?")[0].endswith(("/web", vm["id"])) for path in paths)
        assert time.monotonic() < deadline, paths
        time.sleep(0.02)
    vm["last_exit"] = {"reason": reason, "at": "2026-11-24T17:00:00Z", "detail": ""}
    vm["state"] = "stopped"
    _, errors = child.communicate(timeout=20)
    assert (child.returncode, errors) == (expected, b"closed by remote host\n")


def test_words_for_the_guest() -> None:
    assert without_separator(("--", "ls", "--")) == ["ls", "--"]
    assert without_separator(("ls", "-l")) == ["ls", "-l"]
    assert remote_command(["df | head"]) == ["df | head"]
    assert remote_command(["echo", "a b"]) == ["echo 'a b'"]
    assert remote_command([]) == []


EXPECTED = b"[ 0.1] PCI: Fatal: No config space access function found\r\n"


def test_logs(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    banger.fake.logs = b"first\r\n\x1b[0;32mgreen\x1b[0m\r\n" + EXPECTED + b"login: "
    plain = banger("logs", "web").stdout
    assert plain.replace("\r", "").splitlines()[2].endswith("found  [expected]")
    assert "\x1b[0;32m" in plain
    shown = banger("logs", "web", terminal=True).stdout
    assert shown.splitlines()[:2] == ["first", "green"]
    assert "\x1b[2m[ 0.1] PCI: Fatal" in shown
    assert banger("logs", "--raw", "web").stdout.encode() == banger.fake.logs
    hidden = banger("logs", "--hide-expected", "web").stdout
    assert hidden == plain.replace(plain.splitlines(keepends=True)[2], "")
    lines = [json.loads(line) for line in banger("logs", "--json", "web").stdout.splitlines()]
    assert [line["expected"] for line in lines] == [False, False, True, False]
    assert lines[2]["line"] == EXPECTED.decode().strip()
    assert "no PCI bus" in lines[2]["why"]
    for option in ("--json", "--hide-expected"):
        refused = banger("logs", "--raw", option, "web")
        assert (refused.status, f"--raw and {option}" in refused.stderr) == (2, True)
    assert banger("vm", "logs", "-n", "1", "web").stdout == "login: "
    banger.fake.follow_logs = [b"ro", b"ot\n"]
    assert banger("logs", "-f", "-n", "1", "web").stdout == "login: root\n"
    assert banger("logs", "-n", "0", "web").status == 2


@pytest.mark.parametrize(
    "line",
    [
        b"[    0.548926] PCI: Fatal: No config space access function found",
        b"ACPI Error: AE_AML_BAD_RESOURCE, MissingAddressRange (20220331)",
        b"SELinux:  Could not open policy file <= /etc/selinux/targeted/policy/policy.33",
        b"[   68.842484] reboot: Power off not available: System halted instead",
        b"[   12.1] hrtimer: interrupt took 5012345 ns",
    ],
)
def test_known_noise(line: bytes) -> None:
    assert why_expected(line)
    assert not why_expected(line.replace(b"o", b"0").replace(b"M", b"N"))


def test_log_lines() -> None:
    assert list(whole_lines([b"a\nb", b"c\n", b"d"])) == [b"a\n", b"bc\n", b"d"]
    line = b"\x1b]0;title\x07\x1b[2Jx\x07y\r\r\n"
    assert (
        render_line(line, terminal=True, colour=False) == "x\N{REPLACEMENT CHARACTER}y\n".encode()
    )
    assert render_line(line, terminal=False, colour=False) == line


def test_console(banger: CLIHome) -> None:
    path = banger.root / "console.sock"
    banger.fake.add_vm("web", state="running", console_socket=str(path))
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def guest() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"login: ")
                heard.append(connection.recv(100))

        thread = threading.Thread(target=guest)
        thread.start()
        child = subprocess.Popen(
            [sys.executable, "-m", "banger", "console", "web"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | banger.environment,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.read(7) == b"login: "
        child.stdin.write(b"root\x1dnever")
        child.stdin.flush()
        _, errors = child.communicate(timeout=10)
        thread.join()
    assert (child.returncode, heard) == (0, [b"root"])
    assert b"Ctrl-] to leave" in errors


def test_console_that_is_gone(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running", console_socket="/no/such/socket")
    status, text = call(banger, "console", "web")
    assert (status, text.splitlines()[1]) == (1, "error: the console cannot be reached")


def interrupted_run(banger: CLIHome, *argv: str) -> tuple[int, str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "banger", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | banger.environment,
    )
    deadline = time.monotonic() + 10
    while not any(path.startswith("/v1/events") for _, path, _ in banger.fake.requests):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    out, errors = child.communicate(timeout=10)
    return child.returncode, out + errors


@pytest.mark.parametrize("kind", ["vm.create", "vm.start"])
def test_an_interrupted_run_leaves_nothing(banger: CLIHome, kind: str) -> None:
    banger.fake.add_image()
    banger.fake.endless.add(kind)
    status, text = interrupted_run(banger, "run", "--name", "web")
    assert (status, banger.fake.vms) == (130, {}), text
    assert "interrupted; removing what was made" in text


def test_an_interrupted_stop_goes_on(banger: CLIHome) -> None:
    banger.fake.add_vm("web", state="running")
    banger.fake.endless.add("vm.stop")
    status, text = interrupted_run(banger, "stop", "web")
    (operation,) = banger.fake.operations
    assert status == 130
    assert text.splitlines() == [
        f"stop web continues: banger op wait {operation}",
        f"  to end and undo it: banger op cancel {operation}",
    ]
