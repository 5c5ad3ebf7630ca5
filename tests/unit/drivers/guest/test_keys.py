"""Keys are made once, complete, private, and found again; known_hosts pins them."""

from __future__ import annotations

import stat
import subprocess
import threading
from pathlib import Path

import pytest

from banger.drivers.guest.keys import ensure_key, public_path
from banger.drivers.guest.known_hosts import known_hosts_text
from banger.errors import BangerError, CorruptState
from tests.requirements import needs

pytestmark = needs("ssh")


def test_a_pair_is_made_once(tmp_path: Path) -> None:
    private = tmp_path / "id"
    line = ensure_key(private, "banger")
    assert line.startswith("ssh-ed25519 ")
    assert line.endswith(" banger")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    content = private.read_bytes()
    assert ensure_key(private, "other") == line
    assert private.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["id", "id.pub"]


def test_a_lost_public_half_is_derived(tmp_path: Path) -> None:
    line = ensure_key(tmp_path / "id", "banger")
    public_path(tmp_path / "id").unlink()
    assert ensure_key(tmp_path / "id", "banger") == line


def test_two_at_once_get_the_same(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(ensure_key(tmp_path / "id", "banger")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    derived = subprocess.run(
        ["ssh-keygen", "-y", "-f", tmp_path / "id"], capture_output=True, text=True, check=True
    )
    keys = {line.split()[1] for line in found}
    assert len(found) == 4
    assert keys == {derived.stdout.split()[1]}
    assert public_path(tmp_path / "id").read_text().split()[1] in keys


def test_what_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("nothing")
    with pytest.raises(BangerError):
        ensure_key(tmp_path / "id", "banger")
    (tmp_path / "id.pub").write_text("nothing")
    with pytest.raises(CorruptState):
        ensure_key(tmp_path / "id", "banger")


def test_known_hosts() -> None:
    text = known_hosts_text({"banger-b": "ssh-ed25519 KB comment", "banger-a": "ssh-ed25519 KA"})
    assert text.splitlines()[1:] == ["banger-a ssh-ed25519 KA", "banger-b ssh-ed25519 KB"]
    assert text.startswith("#")


@pytest.mark.parametrize("alias", ["a b", "a,b", "*", "!a", "a\nb", "@cert-authority", "#"])
def test_aliases_that_mean_more(alias: str) -> None:
    with pytest.raises(ValueError, match="host alias"):
        known_hosts_text({alias: "ssh-ed25519 K"})
