"""Talks to ``banger console`` on a terminal of its own, inside the lab host. Run there.

Arguments: the VM, then pairs: what to wait for, what to type then. An empty line is typed again
and again, for a login that begins late throws away what was typed before.
"""

from __future__ import annotations

import os
import pty
import select
import sys
import time


def main(vm: str, *pairs: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("banger", ["banger", "console", vm])
    seen, at, typed = b"", 0, b""
    deadline = time.monotonic() + 100
    for word, keys in zip(pairs[::2], pairs[1::2], strict=True):
        while (found := seen.find(word.encode(), at)) < 0:
            if time.monotonic() > deadline:
                sys.exit(f"{word!r} does not come after {seen!r}")
            if select.select([terminal], [], [], 1)[0]:
                seen += os.read(terminal, 4096)
            elif typed == b"\r":
                os.write(terminal, typed)
        at, typed = found + len(word), keys.encode()
        os.write(terminal, typed)
    _, status = os.waitpid(pid, 0)
    print(seen.decode(errors="replace"))
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(*sys.argv[1:])
