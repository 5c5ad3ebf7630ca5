"""Nothing committed tells of the machine that it was written on."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.style.sources import ROOT, committed_files

#: Written in pieces, so that this file does not find itself.
MACHINE_PATHS = re.compile("|".join(["/wor" + "k/", "/far" + "m/", "/tm" + "p/[a-z]+[.]md"]))
INDEX_OPTIONS = re.compile(
    r"--(?:extra-)?index" + r"-url[ =]+[^$ ]|--find" + r"-links[ =]+[^$ ]|--trusted" + r"-host"
)
#: Addresses that a reader may meet: documentation, example names, this machine.
ALLOWED_HOSTS = re.compile(
    r"^(?:[a-z]+|127\.0\.0\.1|.*\.(?:example|invalid|test|vm)|(?:.*\.)?example\.(?:com|org|net)"
    r"|keepachangelog\.com|semver\.org|no-color\.org|json-schema\.org|www\.rfc-editor\.org"
    r"|www\.w3\.org|spec\.openapis\.org|opensource\.org|.*\.freedesktop\.org|[{<$].*)$"
)
URL = re.compile(r"https?://([^/\s\"'`)>:]+)")


def _texts() -> list[tuple[Path, str]]:
    texts = []
    for path in committed_files():
        data = path.read_bytes()
        if b"\0" not in data:
            texts.append((path.relative_to(ROOT), data.decode("utf-8")))
    return texts


@pytest.mark.parametrize(
    ("what", "pattern"),
    [("a path of one machine", MACHINE_PATHS), ("a package index", INDEX_OPTIONS)],
    ids=["machine paths", "package indexes"],
)
def test_no_file_names(what: str, pattern: re.Pattern[str]) -> None:
    found = [f"{path}: {hit.group()}" for path, text in _texts() for hit in pattern.finditer(text)]
    assert not found, f"{what} in a committed file"


def test_no_file_names_a_host_that_serves_packages() -> None:
    found = [
        f"{path}: {hit.group()}"
        for path, text in _texts()
        for hit in URL.finditer(text)
        if not ALLOWED_HOSTS.match(hit.group(1))
    ]
    assert not found


def test_scripts_can_be_run() -> None:
    for path in committed_files():
        if path.suffix == ".sh" or path == ROOT / ".ci/run":
            assert os.access(path, os.X_OK), path
