from __future__ import annotations

import builtins
import io
import os
from pathlib import Path
from typing import NoReturn

import pytest

from banger import __version__
from banger.build import build_id


def test_every_change_of_the_source_is_another_build(tmp_path: Path) -> None:
    (tmp_path / "sub/__pycache__").mkdir(parents=True)
    (tmp_path / "a.py").write_text("x")
    seen = {build_id(str(tmp_path))}
    (tmp_path / "a.py").write_text("xy")
    seen.add(build_id(str(tmp_path)))
    (tmp_path / "sub/0001.sql").write_text("")
    seen.add(build_id(str(tmp_path)))
    os.utime(tmp_path / "a.py", ns=(1, 1))
    seen.add(build_id(str(tmp_path)))
    assert len(seen) == 4
    (tmp_path / "sub/__pycache__/a.pyc").write_text("")
    (tmp_path / ".swp").write_text("")
    assert build_id(str(tmp_path)) in seen


def test_it_reads_no_contents_and_names_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> NoReturn:
        raise AssertionError("each command would read the whole package")

    for module, name in ((builtins, "open"), (io, "open"), (os, "open")):
        monkeypatch.setattr(module, name, refuse)
    assert build_id().startswith(f"{__version__}-")
