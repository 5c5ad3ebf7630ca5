from __future__ import annotations

from banger.drivers.image.progress import ProgressReader, Reading

ROUND = [
    "I: downloading packages with apt...",
    "0 upgraded, 4 newly installed, 0 to remove and 0 not upgraded.",
    "Need to get 29.7 MB/30.1 MB of archives.",
]


def test_a_build_from_its_output() -> None:
    reader = ProgressReader()
    for line in ROUND:
        reader.feed(line)
    got = reader.feed(
        "Get:2 http://mirror.example/debian bookworm/main amd64 libc6 amd64 2.36-9 [2759 kB]"
    )
    assert got == Reading("download", 0.25, "libc6")
    assert reader.feed("Unpacking libc6:amd64 (2.36-9+deb12u14) ...") == Reading(
        "unpack", 0.25, "libc6"
    )
    assert reader.feed("Setting up g++ (1.1) ...") == Reading("configure", 0.25, "g++")
    assert reader.feed("Setting up g++ (1.1) ...") == Reading("configure", 0.25, "g++")
    assert reader.feed("banger: kernel 6.12.1") == Reading("kernel", None, "kernel 6.12.1")


def test_the_second_round_counts_anew() -> None:
    reader = ProgressReader()
    for line in ROUND:
        reader.feed(line)
    reader.feed("Unpacking libc6:amd64 (2) ...")
    reader.feed("0 upgraded, 10 newly installed, 0 to remove and 0 not upgraded.")
    assert reader.feed("Unpacking git (1) ...") == Reading("unpack", 0.1, "git")


def test_indexes_are_not_packages() -> None:
    reader = ProgressReader()
    assert reader.feed("I: running apt-get update...") == Reading("download", None, "package lists")
    line = "Get:1 http://mirror.example/debian bookworm InRelease [151 kB]"
    assert reader.feed(line) == Reading("download", None, "package lists")
    line = "Get:4 http://mirror.example/debian bookworm/main amd64 Packages [8790 kB]"
    assert reader.feed(line) == Reading("download", None, "package lists")


def test_a_fraction_never_passes_one() -> None:
    reader = ProgressReader()
    for line in ROUND:
        reader.feed(line)
    readings = [reader.feed(f"Unpacking package{n} (1) ...") for n in range(9)]
    assert max(r.fraction or 0 for r in readings if r) == 1.0


def test_other_lines_tell_nothing() -> None:
    reader = ProgressReader()
    assert reader.feed("dpkg: warning: ignoring pre-dependency problem!") is None
    assert reader.feed("") is None
