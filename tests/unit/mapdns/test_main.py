"""The command line: what it prints, and its three lines when something is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import dnslib
import pytest

from banger.mapdns.main import main


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "mapdns" / "records.json"


def test_set_list_rm(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert main(["set", "web", "10.208.0.2", "fd00::2"]) == 0
    assert main(["set", "longer.vm", "10.208.0.6"]) == 0
    assert capsys.readouterr().out == "web.vm\nlonger.vm\n"
    assert main(["list"]) == 0
    assert capsys.readouterr().out == "longer.vm  10.208.0.6\nweb.vm     10.208.0.2 fd00::2\n"
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"][1] == {
        "name": "web.vm",
        "addresses": ["10.208.0.2", "fd00::2"],
        "owner": "",
    }
    assert main(["rm", "--json", "web.vm"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "web.vm"}
    assert "web.vm" not in records.read_text()


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([], 2),
        (["sett"], 2),
        (["set", "web"], 2),
        (["set", "../x", "10.0.0.1"], 2),
        (["set", "web", "10.0.0.300"], 2),
        (["rm", "web"], 4),
        (["serve", "--port", "70000"], 2),
        (["serve", "--address", "198.51.100.1x", "--port", "0"], 9),
    ],
)
def test_errors_have_three_lines(
    arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "  cause", "  try"]


def test_errors_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rm", "web", "--json"]) == 4
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "not_found"


def test_serve_answers_until_it_is_told_to_end(tmp_path: Path) -> None:
    main(["set", "web", "10.208.0.2"])
    argv = [sys.executable, "-m", "banger.mapdns.main", "serve", "--port", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as server:
        assert server.stdout is not None
        words = server.stdout.readline().split()
        assert words[:4] == ["serving", ".vm", "on", "127.0.0.153"]
        query = dnslib.DNSRecord.question("web.vm")
        answer = dnslib.DNSRecord.parse(query.send(words[3], int(words[5]), timeout=5))
        assert str(answer.rr[0].rdata) == "10.208.0.2"
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=10) == 0


def test_the_command_line_starts_without_the_dns_library() -> None:
    code = "import sys, banger.mapdns.main; sys.exit('dnslib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
