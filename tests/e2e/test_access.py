"""Commands and files go into a running guest and come back as they are."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

import pytest

from tests.plain_ssh import config_of, plain, put_rsync
from tests.plugins.home import Home
from tests.requirements import needs

pytestmark = needs("qemu", "image", "ssh")


@pytest.mark.parametrize("status", [0, 7, 255])
def test_exec_passes_the_exit_status_on(booted: Home, status: int) -> None:
    assert booted("exec", "web", "--", "sh", "-c", f"exit {status}").status == status


def test_exec_keeps_streams_apart_and_bytes_as_they_are(booted: Home) -> None:
    data = bytes(range(256)) * 512
    done = booted.run_bytes("exec", "web", "--", "sh", "-c", "cat; echo oops >&2", stdin=data)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"oops\n")


def test_exec_of_nothing_that_exists(booted: Home) -> None:
    assert booted("exec", "web", "--", "no-such-program").status == 127


def test_the_guest_is_what_was_asked_for(booted: Home) -> None:
    system = booted.ok("exec", "web", "--", "uname", "-snm").split()
    assert system == ["Linux", "web", os.uname().machine]
    vm = _only(booted.json("show", "web"))
    processors = booted.ok("exec", "web", "--", "nproc")
    assert int(processors) == vm["vcpus"] == 2


def test_ssh_passes_output_and_status_on(booted: Home) -> None:
    result = booted("ssh", "web", "--", "hostname; exit 3")
    assert (result.status, result.stdout) == (3, "web\n"), result.stderr


def test_a_large_file_comes_back_identical(booted: Home, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(20 * 1024 * 1024)
    (tmp_path / "out").write_bytes(data)
    booted.ok("cp", str(tmp_path / "out"), "web:/root/file")
    digest = booted.ok("exec", "web", "--", "sha256sum", "/root/file").split()[0]
    assert digest == hashlib.sha256(data).hexdigest()
    booted.ok("cp", "web:/root/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data


def test_a_folder_is_copied_both_ways(booted: Home, tmp_path: Path) -> None:
    source = tmp_path / "site"
    (source / "deep/er").mkdir(parents=True)
    (source / "deep/er/odd name").write_text("x")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    booted.ok("cp", str(source), "web:/srv/")
    assert booted("exec", "web", "--", "test", "-x", "/srv/site/run.sh").status == 0
    booted.ok("cp", "web:/srv/site", str(tmp_path / "back"))
    assert (tmp_path / "back/deep/er/odd name").read_text() == "x"


def test_plain_ssh_scp_and_sftp_reach_a_vm_by_its_name(booted: Home, tmp_path: Path) -> None:
    config_of(booted)
    assert plain(booted, "ssh", "web.vm", "hostname") == "web\n"
    (tmp_path / "out").write_text("there and back")
    plain(booted, "scp", "-q", str(tmp_path / "out"), "web.vm:/root/sent")
    plain(booted, "scp", "-q", "web.vm:/root/sent", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "there and back"
    (tmp_path / "batch").write_text(f"get /root/sent {tmp_path}/got\n")
    plain(booted, "sftp", "-q", "-b", str(tmp_path / "batch"), "web.vm")
    assert (tmp_path / "got").read_text() == "there and back"


@needs("rsync")
def test_rsync_reaches_a_vm_by_its_name(booted: Home, tmp_path: Path) -> None:
    config = config_of(booted)
    remote = put_rsync(booted, "web")
    (tmp_path / "site/deep").mkdir(parents=True)
    (tmp_path / "site/deep/page").write_text("hello")
    argv = ["rsync", "-a", "-e", f"ssh -F {config}", f"--rsync-path={remote}"]
    for source, target in (
        (f"{tmp_path}/site", "web.vm:/srv/"),
        ("web.vm:/srv/site/", f"{tmp_path}/b"),
    ):
        done = booted.on_host(*argv, source, target)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "b/deep/page").read_text() == "hello"


def test_a_host_key_that_is_not_the_pinned_one_is_refused(booted: Home, tmp_path: Path) -> None:
    config_of(booted)
    text = booted.paths.ssh_config.read_text()
    other = tmp_path / "known_hosts"
    alias = f"banger-{booted.json('show', 'web')['id']}"
    made = booted.on_host("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{tmp_path}/key")
    assert made.returncode == 0, made
    other.write_text(f"{alias} {(tmp_path / 'key.pub').read_text()}")
    forged = tmp_path / "config"
    forged.write_text(text.replace(str(booted.paths.known_hosts), str(other)))
    forged.chmod(0o600)
    refused = booted.on_host("ssh", "-F", str(forged), "web.vm", "true")
    assert (refused.returncode, b"verification failed" in refused.stderr) == (255, True)


def test_the_list_is_true(booted: Home) -> None:
    rows = json.loads(booted.ok("ls", "--json"))
    assert [(row["name"], row["state"]) for row in rows] == [("web", "running")]
    arguments = Path(f"/proc/{rows[0]['pid']}/cmdline").read_bytes()
    assert rows[0]["id"].encode() in arguments


def test_the_console_log_shows_the_boot(booted: Home) -> None:
    assert "Linux version" in booted.ok("logs", "web", "--raw") or booted.ok("logs", "web")


def _only(value: object) -> dict[str, object]:
    found = value[0] if isinstance(value, list) else value
    assert isinstance(found, dict)
    return found
