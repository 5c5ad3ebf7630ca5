"""``python -m banger.manual write|remove FOLDER``: the manual pages below a folder for man."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from banger.errors import BangerError
from banger.manual.pages import remove_pages, write_pages


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m banger.manual")
    parser.add_argument("action", choices=("write", "remove"))
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="such as /usr/local/share/man")
    options = parser.parse_args()
    try:
        if options.action == "write":
            write_pages(options.folder)
        else:
            remove_pages(options.folder)
    except BangerError as error:
        sys.stderr.write(f"error: {error.brief}\n  cause: {error.cause}\n")
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
