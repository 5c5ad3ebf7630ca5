from __future__ import annotations

from pathlib import Path

import pytest

from banger.drivers.image import debs

KERNEL_OLD = "linux-image-6.12.115+deb12-cloud-amd64_6.12.115-1_amd64.deb"
KERNEL_NEW = "linux-image-6.12.117+deb12-cloud-amd64_6.12.117-1_amd64.deb"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


def fill(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}_1_all.deb").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_epoch_is_escaped_as_apt_does() -> None:
    listing = "git 1:2.39.5-0+deb12u3 amd64\n\nnetbase 6.4 all\n"
    assert debs.parse_installed(listing) == {
        "git_1%3a2.39.5-0+deb12u3_amd64.deb",
        "netbase_6.4_all.deb",
    }


def test_only_other_versions_of_used_packages_are_outdated() -> None:
    cached = ["git_1_amd64.deb", "git_2_amd64.deb", "vim_1_amd64.deb", KERNEL_OLD, KERNEL_NEW]
    used = frozenset({"git_2_amd64.deb", KERNEL_NEW})
    assert debs.outdated(cached, used) == ["git_1_amd64.deb", KERNEL_OLD]


def test_adopted_files_pass_the_next_check(tmp_path: Path, cache: Path) -> None:
    fill(tmp_path / "new", a="one", b="two")
    debs.adopt(tmp_path / "new", cache, frozenset())
    debs.verify(cache)
    assert names(cache) == ["a_1_all.deb", "b_1_all.deb"]
    assert names(tmp_path / "new") == []


def test_a_damaged_file_and_one_from_nowhere_are_thrown_away(tmp_path: Path, cache: Path) -> None:
    fill(tmp_path / "new", a="one", b="two")
    debs.adopt(tmp_path / "new", cache, frozenset())
    fill(cache, b="TWO", c="planted")
    (cache / "d_1_all.deb").symlink_to("a_1_all.deb")
    debs.verify(cache)
    assert names(cache) == ["a_1_all.deb"]


def test_what_a_build_replaces_goes(tmp_path: Path, cache: Path) -> None:
    fill(tmp_path / "new", a="one")
    debs.adopt(tmp_path / "new", cache, frozenset())
    (tmp_path / "new" / "a_2_all.deb").write_text("newer")
    debs.adopt(tmp_path / "new", cache, frozenset({"a_2_all.deb"}))
    debs.verify(cache)
    assert names(cache) == ["a_2_all.deb"]


def test_without_a_list_of_digests_nothing_is_trusted(cache: Path) -> None:
    fill(cache, a="one")
    debs.verify(cache)
    assert names(cache) == []


def test_damaged_lines_of_the_list_are_left_out() -> None:
    assert debs.parse_digests(f"{'a' * 64}  x.deb\nshort  y.deb\nz\n") == {"x.deb": "a" * 64}
