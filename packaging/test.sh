#!/bin/sh
# Runs all tests, cheapest first, in one run; arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
packaging/host.sh packaging/host-packages.txt packaging/test-packages.txt
packaging/environment.sh test

# A choice of tests says nothing about the coverage of the whole. In a whole run the lab, a host of
# its own that takes one processor, goes beside all else.
if [ $# -eq 0 ]; then
    set -- --cov --cov-report=term
    [ "$(nproc)" -lt 2 ] || set -- "$@" --numprocesses=2 --dist=loadgroup
fi
exec .venv/bin/python -m pytest "$@"
