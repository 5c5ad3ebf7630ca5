"""What the guide says to a user who has sudo, in the order of the page."""

from __future__ import annotations

from tests.guide.blocks import page_line, read
from tests.lab.session import Session
from tests.plugins.lab import LabHome
from tests.requirements import needs


@needs("lab")
def test_a_user_with_sudo_follows_the_guide(lab: Session) -> None:
    home = LabHome(lab, "/home/dev/g", user="dev")
    rule = "dev ALL=(ALL) NOPASSWD: ALL"
    lab.shell(f"echo '{rule}' >/etc/sudoers.d/everything; chmod 440 /etc/sudoers.d/everything")
    blocks = [block for block in read() if block.lab]
    assert blocks
    for block in blocks:
        done = home.on_host("bash", "-euxc", f"cd /home/dev\n{block.script}")
        output = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == 0, f"{page_line(block.line)} ended so:\n{output}"
    lab.shell("rm /etc/sudoers.d/everything; ! ls /usr/local/lib/banger-privileged 2>/dev/null")
