#!/bin/sh
# Installs those Debian packages of the given lists that are missing: host.sh LIST...
# Quick and silent when none is.
set -eu

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

wanted=$(sed 's/[[:space:]]*#.*//' "$@" | tr '\n' ' ')

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "banger: this is not Debian, so install what these are called here: $wanted" >&2
    exit 0
fi

# shellcheck disable=SC2086 # a list of words
present=" $(dpkg-query --show --showformat '${db:Status-Status}:${Package}\n' $wanted 2>/dev/null |
    sed -n 's/^installed://p' | tr '\n' ' ') "
missing=
for package in $wanted; do
    case $present in
    *" $package "*) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null 2>&1; then
    echo "error: Debian packages are missing, and without root or sudo they cannot be installed" >&2
    echo "  try:   as root: apt-get install --no-install-recommends$missing" >&2
    exit 6
fi

echo "== installing Debian packages:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

install() {
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes \
        --no-install-recommends --option Dpkg::Use-Pty=0 $missing >>"$log" 2>&1
}
update() {
    as_root apt-get update --quiet >>"$log" 2>&1
}

# The lists are fetched only if there are none, or if they have grown too old to install from.
if ! find /var/lib/apt/lists -name '*_Packages*' 2>/dev/null | grep -q .; then
    update || true
fi
if ! install && ! { update && install; }; then
    tail -n 30 "$log" >&2
    echo "error: apt-get could not install$missing" >&2
    echo "  try:   sudo apt-get update && sudo apt-get install$missing" >&2
    exit 9
fi
