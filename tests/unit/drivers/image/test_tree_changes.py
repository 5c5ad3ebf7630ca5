"""What changes a tree: the texts for apt and debugfs, and which modules are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from banger.drivers.image import kept, offline_apt
from banger.drivers.image.ext4.extract import Kept
from banger.drivers.image.tree_kernel import copy_plain, find_version
from banger.drivers.image.tree_packages import codename
from banger.errors import InvalidInput


def item(path: bytes, kind: str = "c", **attributes: str) -> Kept:
    return Kept(
        path=path.hex(), kind=kind, major=1, minor=3, mode=0o20666, uid=0, gid=5, mtime=7,
        attributes={name.encode().hex(): value for name, value in attributes.items()},
    )  # fmt: skip


def test_devices_and_attributes_are_written_by_name() -> None:
    lines = kept.script([item(b"/dev/a b")], {})
    assert lines == [
        'cd "/dev"',
        'mknod "a b" c 1 3',
        'sif "a b" mode 020666',
        'sif "a b" uid 0',
        'sif "a b" gid 5',
        'sif "a b" mtime @7',
    ]
    odd = kept.script([item(b"/etc/x", "x", note="ff")], {"ff": "/proc/self/fd/9"})
    assert odd == ['ea_set -f /proc/self/fd/9 "/etc/x" note']


@pytest.mark.parametrize(
    "wrong",
    [
        item(b'/dev/a"b'),
        item(b"/dev/a\nwrite /etc/shadow x"),
        item(b"/x", "x", **{"user.a\nwrite /etc/shadow x": "ff"}),
        item(b"/x", "x", **{"user.a b": "ff"}),
    ],
)
def test_no_name_is_taken_for_a_command(wrong: Kept) -> None:
    with pytest.raises(InvalidInput, match="cannot be kept"):
        kept.script([wrong], {"ff": "/proc/self/fd/9"})


def test_both_apts_see_the_same_and_nothing_of_either_system() -> None:
    host = offline_apt.render("host", "/w/share", "amd64", ['Acquire::Retries "3"'])
    guest = offline_apt.render("guest", "/.banger-share", "amd64")
    for text, share in ((host, "/w/share"), (guest, "/.banger-share")):
        assert "@" not in text
        assert f'Dir::Etc::sourcelist "{share}/banger.sources";' in text
        for never in ("parts", "main", "preferences", "sourceparts"):
            assert f'Dir::Etc::{never} "/dev/null";' in text
    assert host.endswith('Acquire::Retries "3";\n')
    assert "Unauthenticated" not in host
    # What is fetched counts against the tree's packages; what is installed, in the tree's own list.
    assert 'Dir::State::status "/w/share/status";' in host
    assert "Dir::State::status" not in guest


def test_what_apt_would_fetch() -> None:
    text = (
        "'http://a/pool/t/tree_2.1.0-1_amd64.deb' tree_2.1.0-1_amd64.deb 52540 SHA256:ab\n"
        "'file:/x/y' odd 12 \n"
        "Reading package lists...\n"
    )
    assert offline_apt.parse_names(text) == ("tree_2.1.0-1_amd64.deb",)


@pytest.mark.parametrize(
    ("text", "name"),
    [('ID=debian\nVERSION_CODENAME=bookworm\n', "bookworm"), ('VERSION_CODENAME="sid"', "sid"),
     ("ID=alpine\n", ""), ("VERSION_CODENAME=../x\n", "")],
)  # fmt: skip
def test_the_release_of_a_tree(text: str, name: str) -> None:
    assert codename(text) == name


def test_modules_of_the_kernel_alone(tmp_path: Path) -> None:
    for version in ("6.1", "6.2"):
        (tmp_path / "lib/modules" / version / "kernel").mkdir(parents=True)
    wanted = tmp_path / "lib/modules/6.1"
    for folder in (tmp_path, tmp_path / "lib/modules", wanted):
        assert find_version(folder, "6.1") == wanted
    with pytest.raises(InvalidInput, match="cannot be used") as caught:
        find_version(tmp_path, "6.3")
    assert "6.3" in caught.value.cause


def test_links_do_not_come_along(tmp_path: Path) -> None:
    source = tmp_path / "6.1"
    (source / "kernel").mkdir(parents=True)
    (source / "kernel/a.ko").write_text("a")
    (source / "build").symlink_to("/etc")
    (source / "kernel/b.ko").symlink_to("/etc/passwd")
    copy_plain(source, tmp_path / "copy")
    found = {str(p.relative_to(tmp_path / "copy")) for p in (tmp_path / "copy").rglob("*")}
    assert found == {"kernel", "kernel/a.ko"}
    assert (tmp_path / "copy/kernel").stat().st_mode & 0o777 == 0o755
