from __future__ import annotations

import json

from tests.fakes.cli_home import CLIHome


def test_register(banger: CLIHome) -> None:
    for name in ("root.ext4", "vmlinuz", "initrd.img"):
        (banger.root / name).write_text("x")
    (banger.root / "modules").mkdir()
    root = str(banger.root)
    argv = ["image", "register", "own", "--rootfs", f"{root}/root.ext4", "--kernel",
            f"{root}/vmlinuz", "--initrd", f"{root}/initrd.img", "--modules",
            f"{root}/modules"]  # fmt: skip
    made = banger(*argv)
    assert (made.status, made.stdout) == (0, "registered own (700 MiB on disk)\n")
    assert made.stderr.endswith("use it: banger run --image own\n")
    assert banger.sent("POST", "/v1/images:register") == [
        {
            "name": "own",
            "rootfs": f"{root}/root.ext4",
            "kernel": f"{root}/vmlinuz",
            "initrd": f"{root}/initrd.img",
            "modules": f"{root}/modules",
        }
    ]
    again = banger(*argv)
    assert (again.status, len(again.stderr.splitlines())) == (5, 3)
    argv[2] = "other"
    assert banger(*argv, "-q").stdout == "other\n"
    argv[2] = "third"
    assert json.loads(banger(*argv, "--json").stdout)["name"] == "third"
    missing = banger("image", "register", "x", "--rootfs", "nothing", "--kernel", "vmlinuz")
    assert (missing.status, len(missing.stderr.splitlines())) == (2, 3)
    assert banger("image", "register", "x", "--rootfs", argv[4]).status == 2
    assert "registered" not in banger("image", "show", "own").stderr


def test_rename(banger: CLIHome) -> None:
    image = banger.fake.add_image("small", used_by=["web"])
    renamed = banger("image", "rename", "small", "tools")
    assert (renamed.status, renamed.stdout) == (0, "renamed small to tools\n")
    assert image["name"] == "tools"
    unknown = banger("image", "rename", "tols", "x")
    assert unknown.status == 4
    assert "did you mean tools?" in unknown.stderr
    assert banger("image", "rename", "tools", "Not A Name").status == 2


def test_prune(banger: CLIHome) -> None:
    banger.fake.add_image("debian")
    banger.fake.add_image("old")
    banger.fake.add_image("used", used_by=["web"])
    shown = banger("image", "prune", "--dry-run")
    assert shown.status == 0
    assert shown.stdout == (
        "image      700 MiB  old\n"
        "remains      4 KiB  dead\n"
        "cache       90 MiB  downloaded packages\n"
        "790 MiB would be freed\n"
    )
    listed = json.loads(banger("image", "prune", "--dry-run", "--json").stdout)
    assert [each["name"] for each in listed] == ["old", "dead", "downloaded packages"]
    refused = banger("image", "prune")
    assert (refused.status, len(refused.stderr.splitlines())) == (2, 3)
    assert "banger image prune --yes" in refused.stderr
    assert len(banger.fake.images) == 3
    done = banger("image", "prune", "--yes")
    assert done.status == 0
    assert done.stdout.endswith("freed 790 MiB\n")
    assert {image["name"] for image in banger.fake.images.values()} == {"debian", "used"}


def test_prune_tells_what_stays(banger: CLIHome) -> None:
    image = banger.fake.add_image("old")
    banger.fake.failures["image.delete"] = {
        "code": "conflict", "brief": "cannot delete the image old", "cause": "it is used by web",
        "resolution": "banger rm web",
    }  # fmt: skip
    result = banger("image", "prune", "--yes", "--json")
    assert result.status != 0
    assert "it is used by web" in result.stderr
    assert [each["kind"] for each in json.loads(result.stdout)] == ["remains", "cache"]
    assert image["id"] in banger.fake.images
