#!/bin/sh
# Runs all tests, cheapest first, in one run; arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
packaging/host.sh packaging/host-packages.txt packaging/test-packages.txt
packaging/environment.sh test

if [ $# -gt 0 ]; then
    exec .venv/bin/python -m pytest "$@"
fi
# What the last rungs need is made beside the first ones.
.venv/bin/python -m tests.prepare &
preparing=$!
trap 'wait "$preparing" || true' EXIT # killed, it would leave processes and folders behind
.venv/bin/python -m pytest --numprocesses=2 --durations=40 --durations-min=5
