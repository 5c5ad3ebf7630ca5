#!/bin/sh
# Makes .venv with the distribution's own Python, the pinned packages of one list and banger
# itself: environment.sh base|test. Does nothing if that is so already.
set -eu
cd "$(dirname "$0")/.."
list=$1
system_python=${PYTHON:-/usr/bin/python3}
python=.venv/bin/python

# What an environment depends on: the lists, the entry points, where it lies and its Python.
wanted=$(
    {
        pwd
        "$system_python" --version
        cat requirements/build.txt "requirements/$list.txt" pyproject.toml
    } | sha256sum
)
stamp=.venv/$list.stamp

# The test list holds everything of the base list.
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$python" -c '' 2>/dev/null; then
    exit 0
fi

echo "== preparing .venv ($list)"
if ! "$python" -c '' 2>/dev/null || [ "$(cat .venv/place 2>/dev/null)" != "$PWD" ]; then
    rm -rf .venv
    "$system_python" -m venv .venv
    pwd >.venv/place
fi

pip() {
    "$python" -m pip --disable-pip-version-check --quiet --quiet install "$@"
}
# The lists are complete, so nothing is resolved here: Debian 12's pip lets a requirement with an
# extra (coverage[toml]) pull in a release newer than the pinned one, and then refuses it.
pip --no-deps --require-hashes \
    --requirement requirements/build.txt --requirement "requirements/$list.txt"
pip --no-deps --no-build-isolation --editable .
missing=$("$python" -m pip --disable-pip-version-check check) || {
    printf '%s\n' "$missing" >&2
    exit 1
}
"$python" -m compileall -q src
printf '%s\n' "$wanted" >"$stamp"
