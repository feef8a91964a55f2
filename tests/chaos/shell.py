"""What is done on a worker past vmops: shell, with the words that follow it."""

from __future__ import annotations

STRANGERS = """
set -e
cd /home/ubuntu/vm_images
ip tuntap add mode tap name tap_900_eth1
ip link set tap_900_eth1 up
ovs-vsctl add-port br-int tap_900_eth1 tag=102
qemu-img create -q -f qcow2 foreign.qcow2 1M
qemu-system-x86_64 -accel tcg -m 32 -display none -serial none -name web1x -daemonize \\
    -netdev tap,id=net0,ifname=tap_900_eth1,script=no,downscript=no -device e1000,netdev=net0 \\
    -drive file=foreign.qcow2,format=qcow2
ip tuntap add mode tap name tap_901_eth1
ip link set tap_901_eth1 alias somebody
ovs-vsctl add-port br-int gone0 tag=103 -- set Interface gone0 external_ids:note=somebody
setsid bash -c 'exec -a "qemu-system-x86_64 -name web1" perl -e sleep' </dev/null >/dev/null 2>&1 &
ip netns add somebody
nsenter --net=/run/netns/somebody nft add table inet somebody
nft add table inet somebody
setsid bash -c 'exec -a "dnsmasq --conf-file=/run/vmops-net/blue/dnsmasq.conf" perl -e sleep' \\
    </dev/null >/dev/null 2>&1 &
cd /var/tmp/images
setsid python3 -m http.server --bind 127.0.0.1 "$1" </dev/null >/dev/null 2>&1 &
"""
"""A QEMU that a hand has started, its TAP and port; a TAP of nobody's; a port without a device; a
process that `pgrep -f 'qemu.*web1'` finds; a namespace, tables of nftables, and a process that
looks like a network's dnsmasq; and a server with an image."""

FOLDER = "/home/ubuntu/vm_images/.vmops"
PRISTINE = "/var/tmp/images"
"""What images and disks are brought from."""

DOCUMENTED = """
set -e
ip tuntap add mode tap name tap_1_eth1
ip tuntap add mode tap name tap_1_eth2
ip link set dev tap_1_eth1 up
ip link set dev tap_1_eth2 up
ovs-vsctl --may-exist add-port br-int tap_1_eth1 tag=101
ovs-vsctl --may-exist add-port br-int tap_1_eth2 tag=102
qemu-system-x86_64 -m 32 -smp 1 -vnc 127.0.0.1:1 \\
    -netdev tap,id=net0,ifname=tap_1_eth1,script=no,downscript=no -device e1000,netdev=net0 \\
    -netdev tap,id=net1,ifname=tap_1_eth2,script=no,downscript=no -device e1000,netdev=net1 \\
    -drive file=/home/ubuntu/vm_images/web1.qcow2,format=qcow2 -daemonize
"""
"""web1 as the documented system starts it."""

BRING = """
set -e
cd /home/ubuntu/vm_images/.vmops
head -c "$3" "/var/tmp/images/$1" >"$2"
chown ubuntu:ubuntu "$2"
chmod "$4" "$2"
"""
"""An image, or its beginning, past vmops."""

WIPE = """
for t in "$@"; do
    ovs-vsctl --timeout=10 --if-exists del-port "$t"
    ip link del "$t" 2>/dev/null
done
for vm in web1 web2 web3 deaf1 disk1 plug1 disk2 net1 over1 agent1 seed1; do
    umount -l /run/vmops/$vm/log 2>/dev/null
    rm -rf /run/vmops/$vm
done
true
"""

WIPE_NETWORKS = """
ovs-vsctl --timeout=10 remove Open_vSwitch . external_ids vmops-drained \\
    -- remove Open_vSwitch . external_ids vmops-away
[ -e /run/vmops-net ] || exit 0
for name in blue red; do
    pkill -9 -fx "dnsmasq --conf-file=/run/vmops-net/$name/dnsmasq.conf --pid-file=.*"
    ip netns del vmops-$name 2>/dev/null
done
for device in /sys/class/net/vml* /sys/class/net/vmu*; do
    [ -e "$device" ] || continue
    ip link del "${device##*/}"
    ovs-vsctl --timeout=10 --if-exists del-port "${device##*/}"
done
for port in $(ovs-vsctl --timeout=10 --bare --columns=name list Port); do
    case $port in vml*) ovs-vsctl --timeout=10 del-port "$port" ;; esac
done
nft list tables | while read -r word family table; do
    case $table in vmops_*) nft delete table "$family" "$table" ;; esac
done
echo 0 >/proc/sys/net/ipv4/conf/uplink/forwarding
rm -rf /run/vmops-net
"""

SHARE = """
mount --bind "$1" /home/ubuntu/vm_images
mount -o remount,bind,rw /home/ubuntu/vm_images
chown ubuntu: /home/ubuntu/vm_images
install -d -m 0700 -o ubuntu -g ubuntu /home/ubuntu/vm_images/.vmops
[ -e /home/ubuntu/vm_images/.vmops/shared-nas ] ||
    install -m 0600 -o ubuntu -g ubuntu /dev/null /home/ubuntu/vm_images/.vmops/shared-nas
"""
"""A folder of this machine in place of the worker's own."""

NO_SHARE = "umount -l /home/ubuntu/vm_images || :"

UNDERLAY = """
ovs-vsctl set Port trunk trunks=4094 vlan_mode=trunk -- add-port br-int underlay tag=4094 \\
    -- set Interface underlay type=internal
ip link set underlay addrgenmode none
ip addr add "$1/24" dev underlay
ip link set underlay up
"""
"""One VLAN is all that the switch carries from now on, with an address in it."""

NO_UNDERLAY = """
for port in $(ovs-vsctl --timeout=10 list-ports br-int); do
    case $port in vmx*|underlay) ovs-vsctl --timeout=10 del-port "$port" ;; esac
done
ovs-vsctl --timeout=10 clear Port trunk trunks -- clear Port trunk vlan_mode
"""

OVN = """
ip address add "$1/32" dev lo
mkdir -p /run/ovn /var/log/ovn
for word in nb sb; do
    ovsdb-tool create /var/lib/ovn/ovn${word}_db.db /usr/share/ovn/ovn-$word.ovsschema
done
ovs-vsctl --timeout=10 set Open_vSwitch . external_ids:ovn-bridge=br-ovn
"""
"""An address where tunnels could end, and what OVN's daemons begin with."""

NO_OVN = """
for file in /run/ovn/*.pid; do
    read -r pid <"$file" && kill -9 "$pid"
    while [ -d "/proc/$pid" ]; do sleep 0.02; done
done
rm -rf /run/ovn /var/lib/ovn/* /var/lib/ovn/.[!.]*
set -- system-id
for word in bridge bridge-datapath-type encap-type encap-ip remote; do
    set -- "$@" "ovn-$word"
done
for key in "$@"; do
    echo "-- remove Open_vSwitch . external_ids $key"
done | xargs ovs-vsctl --timeout=10 --if-exists del-br br-ovn
ip address flush dev lo scope global
"""
"""A worker that has no OVN any more."""

FORGET = """
for t in "$@"; do ip link del "$t"; done
rm -rf /run/vmops/web1
"""

KEEP_AGENT = """
set -e
mkdir -p /var/tmp/images/agent
cd /home/ubuntu/vm_images/.vmops
cp -a "$1" *-agent1* /var/tmp/images/agent
"""
BRING_AGENT = """
set -e
cd /var/tmp/images/agent
cp -a * /home/ubuntu/vm_images/.vmops
"""
"""The image, the disks and the memory of the guest with an agent: kept, and given back."""

FREEZE_AGENT = r"""
exec perl -MIO::Socket::UNIX -e '
    alarm 60;
    my $agent = IO::Socket::UNIX->new("/run/vmops/agent1/agent.sock") or die $!;
    syswrite $agent, qq(\xff{"execute": "guest-sync-delimited", "arguments": {"id": 7}}\n);
    1 until (readline $agent) =~ /"return": 7/;
    syswrite $agent, qq({"execute": "guest-fsfreeze-freeze"}\n);
    (readline $agent) =~ /"return": [1-9]/ or die;
'
"""
"""As somebody does who has another program for it."""
