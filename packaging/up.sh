#!/bin/sh
# Brings up a VM named hello and has it answer; what is there already is used.
set -eu
cd "$(dirname "$0")/.."
banger=$PWD/.venv/bin/banger
name=hello

if ! "$banger" exec "$name" -- true >/dev/null 2>&1; then
    if "$banger" vm show "$name" >/dev/null 2>&1; then
        "$banger" start "$name"
    else
        "$banger" run --name "$name"
    fi
fi
"$banger" exec "$name" -- uname -a

# Print the short command where a shell would find this very one.
if [ "$(command -v banger 2>/dev/null | xargs -r readlink -f)" = "$(readlink -f "$banger")" ]; then
    banger=banger
fi
cat <<END

That line came from inside the VM "$name". What next:
  enter it    $banger ssh $name
  run in it   $banger exec $name -- apt list --installed
  list VMs    $banger ls
  stop it     $banger stop $name
  delete it   $banger rm -f $name
END
