#!/bin/sh
# Runs all tests, cheapest first, in one run; arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
packaging/host.sh packaging/host-packages.txt packaging/test-packages.txt
packaging/environment.sh test

# A choice of tests says nothing about the coverage of the whole, nor where its time goes.
if [ $# -eq 0 ]; then
    set -- --cov --cov-report=term --durations=40 --durations-min=5
fi
exec .venv/bin/python -m pytest "$@"
