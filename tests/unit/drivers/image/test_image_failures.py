from __future__ import annotations

import pytest

from banger.drivers.image.failures import explain
from banger.errors import BangerError, CommandFailed, HostNotReady, InvalidInput

CASES: list[tuple[str, type[BangerError], str]] = [
    ("E: Unable to locate package nope", InvalidInput, "bookworm has no package nope"),
    ("E: Package 'nope' has no installation candidate", InvalidInput, "no package nope"),
    ("E: The repository 'x Release' does not have a Release file.", InvalidInput, "no suite"),
    ("Err:1 http://x  Temporary failure resolving 'x'", HostNotReady, "cannot be reached"),
    ("tar: ./usr: Cannot write: No space left on device", HostNotReady, "did not fit"),
    ("mke2fs: Could not allocate block in ext2 filesystem", HostNotReady, "did not fit"),
    ("W: GPG error: NO_PUBKEY 0E98404D386FA1D9", HostNotReady, "signature"),
    ("dpkg: error processing package x", CommandFailed, "dpkg: error processing package x"),
]


@pytest.mark.parametrize(("line", "kind", "cause"), CASES)
def test_the_reason_is_found(line: str, kind: type[BangerError], cause: str) -> None:
    tail = ["Reading package lists...", line, "E: mmdebstrap failed to run"]
    error = explain("debian", "bookworm", CommandFailed("mmdebstrap failed"), tail)
    assert type(error) is kind
    assert cause in error.cause
    assert error.resolution
    assert error.brief == "the image debian could not be built"
    assert line in error.details


def test_without_output_the_failure_itself_is_the_cause() -> None:
    failure = CommandFailed("mke2fs was ended by signal 9", cause="it printed nothing")
    assert explain("debian", "bookworm", failure, []).cause == "it printed nothing"


def test_the_details_end_with_the_fault_and_not_with_the_script_that_had_it() -> None:
    script = [f"line {number} of a hook" for number in range(80)]
    tail = [
        "banger: kernel 7",
        "mv: cannot stat 'x'",
        "E: setup failed: E: command failed:",
        *script,
    ]
    error = explain("debian", "sid", CommandFailed("mmdebstrap failed"), tail)
    assert error.cause == "mv: cannot stat 'x'"
    assert error.details.splitlines() == tail[:2]
