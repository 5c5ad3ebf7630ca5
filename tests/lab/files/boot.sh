#!/bin/sh
# The lab host's start, once, before its state is saved.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620 devpts /dev/pts
# One for homes and the guest image, so that the image can be moved into a home.
mount -t tmpfs -o size=75% tmpfs /lab/memory
for folder in root home image; do
    mkdir -m "$(stat -c %a /$folder 2>/dev/null || echo 755)" /lab/memory/$folder
done
mount --bind /lab/memory/root /root
mount --bind /lab/memory/home /home
for folder in /dev/shm /run /tmp; do
    mount -t tmpfs -o "size=75%,mode=$(stat -c %a $folder)" tmpfs $folder
done
chmod 1777 /tmp /dev/shm
mkdir -m 0700 /home/dev && chown dev:dev /home/dev
mount -t cgroup2 cgroup /sys/fs/cgroup
hostname lab
ip link set lo up
modprobe -a kvm-amd loop dm-snapshot tun bridge nf_tables nft_chain_nat nft_masq nft_ct nft_reject_inet veth
# Asleep, not polling: a waiting guest then costs this emulated machine nothing.
echo 0 >/sys/module/kvm/parameters/halt_poll_ns
# As udev makes them by its own defaults.
chgrp kvm /dev/kvm && chmod 0666 /dev/kvm /dev/net/tun
