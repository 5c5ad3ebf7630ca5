#!/bin/sh
# First process of the lab host: its root is read-only, and all that is written stays in memory.
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
for module in $($bb cat /modules/order); do
    $bb insmod "/modules/$module.ko" || echo "lab: no module $module"
done
$bb mount -t ext4 -o ro /dev/vda /low || exec $bb sh
$bb mount -t tmpfs -o size=75% tmpfs /over
$bb mkdir /over/up /over/work
$bb mount -t overlay -o lowerdir=/low,upperdir=/over/up,workdir=/over/work overlay /root
for folder in dev proc sys; do
    $bb mount --move "/$folder" "/root/$folder"
done
exec $bb switch_root /root /lab/init
