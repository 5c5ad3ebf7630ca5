"""``banger tui`` in a real terminal: a VM from the form to its deletion, on real QEMU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.plugins.home import Home, program
from tests.plugins.tmux import Tmux
from tests.requirements import needs

pytestmark = needs("qemu", "image", "ssh", "tmux")


@pytest.fixture
def screen(banger_with_image: Home) -> Iterator[Tmux]:
    home = banger_with_image
    environment = home.environment | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    environment.pop("NO_COLOR", None)
    tmux = Tmux(home.root / "tmux", [*program(), "tui"], environment, columns=120, rows=40)
    try:
        yield tmux
    finally:
        tmux.end()


def test_a_vm_lives_its_life_on_the_screen(
    banger_with_image: Home, screen: Tmux, leaves_nothing: object
) -> None:
    screen.until("no VMs yet", "● live")
    # The form proposes a name; another is typed over it.
    screen.press("n")
    screen.until("New VM", "$ banger run --name")
    screen.type("web")
    screen.until("$ banger run --name web --image debian")
    screen.press("Enter")
    screen.until("● running", "✓ start web", timeout=240)
    # The console's log is there, and the shell in the guest has the whole terminal.
    screen.press("l")
    screen.until("[expected]", timeout=20)
    screen.press("S")
    screen.until("root@web", gone="● live", timeout=60)
    screen.type("stty size; exit 7\n")
    screen.until("banger ssh web ended with status 7", "● live", timeout=60)
    # What the command line does is seen, without a key.
    banger_with_image.ok("vm", "pause", "web")
    screen.until("‖ paused", timeout=5)
    banger_with_image.ok("vm", "resume", "web")
    screen.until("● running", timeout=5)
    screen.press("s")
    screen.until("○ stopped", "$ banger stop web", timeout=120)
    screen.press("d")
    screen.until("delete web?")
    screen.press("y")
    screen.until("no VMs yet", "✓ delete web", timeout=30)
    assert banger_with_image.json("ls") == []
    screen.press("q")
    left = screen.until("ended with 0")
    assert "● live" not in left
