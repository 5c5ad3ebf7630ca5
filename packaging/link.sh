#!/bin/sh
# Puts the command of this checkout on the PATH, or takes it off: link.sh add|remove.
# Only ever touches a link that a checkout's environment made; anything else stays.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" -eq 0 ]; then
    folder=/usr/local/bin
else
    folder=$HOME/.local/bin
fi

for name in banger bangerd mapdns; do
    link=$folder/$name
    program=$PWD/.venv/bin/$name
    present=$(readlink "$link" 2>/dev/null || true)
    case $1 in
    add)
        [ "$present" != "$program" ] || continue
        case $present in
        */.venv/bin/"$name") ;;
        *) if [ -e "$link" ] || [ -L "$link" ]; then continue; fi ;;
        esac
        mkdir -p "$folder"
        ln -sfn "$program" "$link"
        ;;
    remove)
        [ "$present" != "$program" ] || rm -f "$link"
        ;;
    esac
done
