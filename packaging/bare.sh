#!/bin/sh
# Follows the README inside a fresh minimal Debian: `make up` and `make test` on a clone of what
# is committed, with the distribution's own Python and nothing else, so that a forgotten step of
# installation shows here first; then `make up` in another one, as an ordinary user with sudo.
# Needs root and mmdebstrap. TARGETS="up" runs only that one, AS=root or AS=user only one of both.
set -eu
cd "$(dirname "$0")/.."
checkout=$PWD
suite=${SUITE:-bookworm}
as=${AS:-root user}
targets=${TARGETS:-up test}

if [ "$(id -u)" -ne 0 ]; then
    exec sudo --preserve-env "$checkout/packaging/bare.sh"
fi
if [ "${1:-}" != inside ] && [ "$as" != "${as#* }" ]; then
    for who in $as; do
        AS=$who packaging/bare.sh
    done
    exit
fi
if [ "${1:-}" != inside ]; then
    packaging/host.sh packaging/host-packages.txt
    room=$(mktemp -d /var/tmp/banger-bare.XXXXXX)
    tun_mode=$(stat --format=%a /dev/net/tun 2>/dev/null || true)
    # shellcheck disable=SC2317 # called by the trap
    clean() {
        # The namespace of the processes is gone by now, and its mounts went with it. An
        # interface may be left in the host's network: one of a VM that has its folder here.
        find "$room" -xdev -type d -path '*/banger/vms/*' -prune -printf '%f\n' |
            while read -r id; do
                [ ! -e "/sys/class/net/bgr$id" ] || ip link delete "bgr$id"
            done
        # The device is the host's too, and a user's setup opens it to everybody.
        [ -z "$tun_mode" ] || chmod "$tun_mode" /dev/net/tun
        rm -rf --one-file-system "$room"
    }
    trap clean EXIT
    trap 'exit 130' INT TERM
    # Own mounts and processes: whatever is started ends with this command. The network is the
    # host's, for there is no other way to the package archive without setting one up.
    unshare --mount --pid --ipc --uts --fork --kill-child "$0" inside "$room"
    exit $?
fi

room=$2
root=$room/root
# A user's make has no tests to run: they need root.
if [ "$as" = user ]; then
    user=dev home=/home/dev targets=up packages=,sudo
else
    user=root home=/root packages=
fi
mount --make-rprivate /
mkdir "$root"

step() {
    printf '\n== bare, as %s: %s\n' "$as" "$*"
}

step "a minimal Debian $suite"
# The archive and the way to it are this host's: its sources, and what apt knows of proxies.
apt-config dump | grep '^Acquire::' | grep -v 'APT::' >"$room/apt.conf" || true
sources=$(find /etc/apt/sources.list /etc/apt/sources.list.d -type f \
    \( -name '*.list' -o -name '*.sources' \) 2>/dev/null || true)
# shellcheck disable=SC2086 # a list of files
mmdebstrap --quiet --mode=root --variant=minbase --include="python3,make,git,ca-certificates$packages" \
    --aptopt="$room/apt.conf" --dpkgopt=force-unsafe-io "$suite" "$root" $sources

for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
    [ ! -f "$file" ] || install -D --mode=644 "$(readlink -f "$file")" "$root$file"
done

mount --bind "$root" "$root"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/net"
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for node in null zero full random urandom tty net/tun kvm; do
    if [ -e "/dev/$node" ]; then
        : >"$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    fi
done
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"

if [ "$as" = user ]; then
    # As the installer of Debian makes the first user, but that sudo asks for no password here.
    chroot "$root" useradd --create-home --shell /bin/bash --groups sudo "$user"
    echo "$user ALL=(ALL:ALL) NOPASSWD: ALL" >"$root/etc/sudoers.d/bare"
    chmod 440 "$root/etc/sudoers.d/bare"
fi
git clone --quiet "file://$checkout" "$root$home/banger"
chroot "$root" chown -R "$user:$user" "$home/banger"

# Debian's for root, and for a user whose ~/.local/bin was there at the login.
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
[ "$as" = root ] || path=$home/.local/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games
# What pip must know to reach the package index from here; the rest of the environment stays out.
index=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || true)}
# The root is exchanged and not only changed: in a chroot, user namespaces are refused.
# shellcheck disable=SC2016 # the inner shell expands it
inside() {
    env --ignore-environment HOME="$home" USER="$user" TERM=dumb LANG=C.UTF-8 \
        PATH="$path" \
        ${CI:+CI="$CI"} ${BANGER_EXPECT:+BANGER_EXPECT="$BANGER_EXPECT"} \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        ${no_proxy:+no_proxy="$no_proxy"} ${index:+PIP_INDEX_URL="$index"} \
        PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_DEFAULT_TIMEOUT=180 \
        unshare --mount sh -euc '
            cd "$1"
            shift
            /usr/sbin/pivot_root . mnt
            cd "$HOME/banger"
            umount --lazy /mnt
            exec setpriv --reuid="$USER" --regid="$USER" --init-groups "$@"
        ' sh "$root" "$@" </dev/null
}

report=
timed() {
    started=$(date +%s)
    status=0
    inside "$@" || status=$?
    report="$report
  $(printf '%4d' $(($(date +%s) - started))) s, status $status: $*"
    [ "$status" -eq 0 ] || failed=yes
}

failed=
for target in $targets; do
    step "make $target"
    timed make "$target"
    if [ "$target" = up ]; then
        step "make up, repeated"
        timed make up
        timed banger exec hello -- true
        if [ "$as" = user ]; then
            step "the root side, for a VM with a TAP"
            timed sudo "$home/.local/bin/banger" setup
            timed banger daemon restart
            timed banger run --name routed
            timed banger exec routed -- true
            timed banger rm -f routed
        fi
        # Everything that this test made on the network of the host goes with its VMs.
        timed banger rm -f hello
        timed banger daemon stop
        [ "$as" = root ] || timed sudo "$home/.local/bin/banger" setup --remove
    fi
done
step "result$report"
[ -z "$failed" ]
