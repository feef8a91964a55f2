#!/bin/sh
# Runs once, from init, before the shells: devices, modules in the order they need, network.

/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /var/log /var/run
mount -t devpts devpts /dev/pts
hostname guest

while read -r module; do
    insmod "/lib/modules/$module.ko"
done </lib/modules/order

# Interface P is the one whose MAC ends in P, as vmops derives them; it gets 10.P.<bytes 4 and 5>.
# All leave their first names before any takes its last, which another may still have.
ip link set lo up
for path in /sys/class/net/eth*; do
    [ -e "$path" ] && ip link set "${path##*/}" name "nic${path##*/eth}"
done
for path in /sys/class/net/nic*; do
    [ -e "$path" ] || continue
    IFS=: read -r _ _ _ high low position <"$path/address"
    position=$((0x$position))
    ip link set "${path##*/}" name "eth$position"
    ip address add "10.$position.$((0x$high)).$((0x$low))/16" dev "eth$position"
    ip link set "eth$position" up
done

# The button works from here on: acpid writes its pidfile once it listens, and its log is in /var.
acpid
until [ -e /var/run/acpid.pid ]; do usleep 10000; done
for terminal in /dev/ttyS0 /dev/tty1; do
    echo VMOPS-GUEST-UP >"$terminal"
done
