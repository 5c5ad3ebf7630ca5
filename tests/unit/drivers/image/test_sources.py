from __future__ import annotations

from pathlib import Path

import pytest

from banger.drivers.image.sources import (
    Source,
    check_suite,
    is_debian,
    parse_deb822,
    parse_one_line,
    pick,
    read_host_sources,
    render,
)
from banger.errors import InvalidInput

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
OFFICIAL = "ftp.debian.org"
DEB822 = f"""\
Types: deb deb-src
# a comment between fields
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: {KEYRING}

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-security
Components: main
"""

KEY = """\
Types: deb
URIs: https://mirror.example/debian-security/
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----
"""


def test_only_enabled_binary_stanzas_count() -> None:
    assert parse_deb822(DEB822) == [
        Source(
            ("http://mirror.example/debian",),
            ("bookworm", "bookworm-updates", "bookworm-backports"),
            ("main", "contrib"),
            KEYRING,
        )
    ]


def test_one_line_entries_with_and_without_options() -> None:
    text = (
        "# deb http://commented.example/debian bookworm main\n"
        "deb http://a.example/debian bookworm main contrib # trailing\n"
        "deb-src http://a.example/debian bookworm main\n"
        "deb [ arch=amd64,arm64 signed-by=/k.gpg trusted=yes ] http://b.example/debian sid main\n"
        "deb nonsense\n"
    )
    assert parse_one_line(text) == [
        Source(("http://a.example/debian",), ("bookworm",), ("main", "contrib")),
        Source(
            ("http://b.example/debian",),
            ("sid",),
            ("main",),
            "/k.gpg",
            trusted=True,
            architectures=("amd64", "arm64"),
        ),
    ]


@pytest.mark.parametrize(
    "uri",
    [
        f"http://{OFFICIAL}/debian",
        f"http://{OFFICIAL}/",
        "https://ftp.example.org/pub/debian/",
        "http://proxy.example/debian-remote",
        f"http://{OFFICIAL}/archive/debian/20250520T000000Z",
    ],
)
def test_mirrors_of_debian_are_recognised(uri: str) -> None:
    assert is_debian(Source((uri,), ("bookworm",), ("main",)))


@pytest.mark.parametrize(
    "source",
    [
        Source(("https://download.example.com/linux/debian",), ("bookworm",), ("stable",)),
        Source(("https://apt.vendor.example",), ("bookworm",), ("main",)),
        Source(("https://debianish.example/ubuntu",), ("bookworm",), ("main",)),
        Source(("http://mirror.example/debian",), ("bookworm",), ()),
        Source((), ("bookworm",), ("main",)),
    ],
)
def test_archives_of_others_are_not(source: Source) -> None:
    assert not is_debian(source)


def test_only_the_suite_and_its_updates_are_picked() -> None:
    picked = pick([*parse_deb822(DEB822), *parse_deb822(KEY)], "bookworm", "amd64")
    assert [source.suites for source in picked] == [
        ("bookworm", "bookworm-updates"),
        ("bookworm-security",),
    ]


def test_a_host_without_the_suite_has_nothing() -> None:
    assert pick(parse_deb822(DEB822), "trixie", "amd64") == []
    # Security alone does not make a system.
    assert pick(parse_deb822(KEY), "bookworm", "amd64") == []


def test_entries_for_other_architectures_are_left_out() -> None:
    foreign = parse_one_line("deb [arch=arm64] http://mirror.example/debian bookworm main")
    assert pick(foreign, "bookworm", "amd64") == []


def test_rendered_sources_read_the_same_again() -> None:
    sources = [*parse_deb822(DEB822), *parse_deb822(KEY), Source(("u",), ("s",), ("main",))]
    sources.append(Source(("u",), ("s",), ("main",), trusted=True))
    assert parse_deb822(render(sources)) == sources


def test_the_hosts_files_are_read_in_order_and_others_ignored(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text("deb http://one.example/debian bookworm main\n")
    (parts / "b.sources").write_text(KEY)
    (parts / "a.list").write_text("deb http://two.example/debian bookworm main\n")
    (parts / "c.sources.disabled").write_text(DEB822)
    assert [source.uris[0] for source in read_host_sources(tmp_path)] == [
        "http://one.example/debian",
        "http://two.example/debian",
        "https://mirror.example/debian-security/",
    ]


def test_a_host_without_any_apt_has_no_sources(tmp_path: Path) -> None:
    assert read_host_sources(tmp_path / "absent") == []


@pytest.mark.parametrize("suite", ["Bookworm", "-o", "a b", "", "a/b", "x" * 60, "bookworm\n"])
def test_a_suite_is_a_plain_word(suite: str) -> None:
    with pytest.raises(InvalidInput):
        check_suite(suite)
