#!/bin/sh
# Puts the command of this checkout on the PATH, and its manual pages where man looks for them, or
# takes both off: link.sh add|remove. Only ever touches a link that a checkout's environment made,
# and pages that banger made; anything else stays.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" -eq 0 ]; then
    folder=/usr/local/bin manual=/usr/local/share/man
else
    folder=$HOME/.local/bin manual=$HOME/.local/share/man
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

# Only if the command on the PATH is this checkout's.
if [ "$1" = add ] && [ "$(readlink "$folder/banger" 2>/dev/null)" = "$PWD/.venv/bin/banger" ]; then
    .venv/bin/python -P -m banger.manual write "$manual"
elif [ "$1" = remove ] && [ ! -L "$folder/banger" ] && [ -x .venv/bin/python ]; then
    .venv/bin/python -P -m banger.manual remove "$manual"
fi
