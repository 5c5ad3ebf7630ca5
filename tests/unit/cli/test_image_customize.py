"""``image customize`` against the fake daemon."""

from __future__ import annotations

from tests.fakes.cli_home import CLIHome


def test_what_is_sent(banger: CLIHome) -> None:
    banger.fake.add_image()
    assert banger("image", "customize", "debian", "--docker").stdout.startswith(
        "made docker-debian"
    )
    listing, disk = banger.root / "list", banger.root / "disk.ext4"
    listing.write_text("git\n# more\n")
    disk.write_text("x")
    done = banger(
        "image", "customize", str(disk), "--packages", str(listing), "--size", "6G",
        "--kernel", str(disk), "--out", "own", "-q",
    )  # fmt: skip
    assert (done.status, done.stdout) == (0, "own\n")
    assert banger.sent("POST", "/v1/images:customize") == [
        {"base": "debian", "docker": True},
        {
            "base": str(disk),
            "packages": ["git", "# more"],
            "size_bytes": 6 << 30,
            "kernel": str(disk),
            "name": "own",
        },
    ]


def test_files_are_looked_at_first(banger: CLIHome) -> None:
    for wrong in (("/nosuch/disk",), ("debian", "--kernel", "nosuch"), ("debian", "--out", "A")):
        done = banger("image", "customize", *wrong)
        assert (done.status, len(done.stderr.splitlines())) == (2, 3), done
    assert not banger.sent("POST", "/v1/images:customize")
