"""``python -m bench [NAME...]``: measures banger against the same work done by hand."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import time

#: name -> (module, rounds): light ones first.
BENCHMARKS = {
    "commands": ("bench.commands", 21),
    "daemon": ("bench.daemon", 11),
    "tui": ("bench.tui", 5),
    "tiny-starts": ("bench.tiny_starts", 3),
    "daemon-starts": ("bench.daemon_starts", 3),
    "cold-run": ("bench.cold_run", 7),
    "image-build": ("bench.image_build", 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--rounds", type=int, default=0, help="instead of each one's own number")
    options = parser.parse_args()
    unknown = set(options.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(
            f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {load}")
    for name in options.names or BENCHMARKS:
        module, rounds = BENCHMARKS[name]
        started = time.monotonic()
        lines = importlib.import_module(module).run(options.rounds or rounds)
        print(f"\n{chr(10).join(lines)}\n  took {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
