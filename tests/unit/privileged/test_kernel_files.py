from __future__ import annotations

from pathlib import Path

import pytest

from banger.privileged import kernel_files


def test_a_value_is_read_without_its_end_of_line(tmp_path: Path) -> None:
    (tmp_path / "mtu").write_text("1500\n")
    assert kernel_files.value(tmp_path / "mtu") == "1500"
    assert kernel_files.value(str(tmp_path / "mtu")) == "1500"
    assert kernel_files.value("/proc/sys/kernel/ostype") == "Linux"


def test_a_value_is_changed_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "forwarding").write_text("1 and more\n")
    kernel_files.change(tmp_path / "forwarding", "0")
    assert kernel_files.value(tmp_path / "forwarding") == "0"


def test_what_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kernel_files.value(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        kernel_files.change(tmp_path / "none", "0")
    assert not (tmp_path / "none").exists()
