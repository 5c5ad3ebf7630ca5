#!/bin/sh
# Recomputes requirements/*.txt: exact versions and hashes of everything pip installs here.
# Needs pip-tools in the python given as PYTHON (default: .venv/bin/python).
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}

lock() {
    output=$1
    shift
    "$python" -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
        --no-emit-trusted-host --no-emit-options --output-file "$output" "$@"
}

# The build tools come first, then what banger imports, then what its tests add: each list
# agrees with the one before, so one environment can hold all three.
lock requirements/build.txt --only-build-deps --build-deps-for editable --build-deps-for wheel \
    pyproject.toml "$@"
lock requirements/base.txt --constraint requirements/build.txt pyproject.toml "$@"
lock requirements/test.txt --constraint requirements/build.txt --constraint requirements/base.txt \
    --extra test pyproject.toml "$@"
