"""The tests' own way to the package archive, on a machine whose apt knows nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.requirements import needs

pytestmark = needs("net")

ASK = """
import sys
from pathlib import Path
from tests import archive
print(archive.kernel_version(sys.argv[1]))
print(*archive.download(Path(sys.argv[2]), "hostname", "zlib1g"), sep="\\n")
"""


def test_this_machines_package_lists_are_not_asked(tmp_path: Path) -> None:
    """They may be months old: a kernel was unknown to them, and the lab could not be made."""
    (tmp_path / "lists/partial").mkdir(parents=True)
    config = tmp_path / "apt.conf"
    # Named again, because this file is read instead of the one that APT_CONFIG may name already.
    others = os.environ.get("APT_CONFIG")
    text = f"#include {others};\n" if others else ""
    config.write_text(f'{text}Dir::State::Lists "{tmp_path}/lists";\n')
    environment = os.environ | {"APT_CONFIG": str(config), "XDG_CACHE_HOME": str(tmp_path)}
    nothing = subprocess.run(
        ["apt-cache", "show", "linux-image-amd64"],
        env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert nothing.returncode == 100
    done = subprocess.run(
        [sys.executable, "-c", ASK, "linux-image-amd64", str(tmp_path)],
        env=environment, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    version, *packages = done.stdout.splitlines()
    assert version.endswith("-amd64")
    assert version[0].isdigit()
    assert [Path(path).name.partition("_")[0] for path in packages] == ["hostname", "zlib1g"]
    assert all(Path(path).stat().st_size for path in packages)
