from __future__ import annotations

import pytest

from banger.drivers.image.packages import ALWAYS, install_list
from banger.errors import InvalidInput


def test_what_every_guest_needs_is_added_once() -> None:
    assert install_list(["git", "kmod", "git"]) == (
        "git",
        "kmod",
        "systemd-sysv",
        "openssh-server",
    )
    assert set(ALWAYS) <= set(install_list([]))


@pytest.mark.parametrize("name", ["g++", "libc6:amd64", "0ad", "python3.11", "libstdc++6"])
def test_names_debian_allows(name: str) -> None:
    assert name in install_list([name])


@pytest.mark.parametrize(
    "name",
    # A shell, an option, an apt pattern, a file, a version, a removal and an apt release.
    ["a;b", "-o", "?essential", "~nfoo", "./x.deb", "a=1", "foo-", "foo/sid", "A", "", "a", "a,b"],
)
def test_what_apt_would_not_take_as_a_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        install_list([name])
