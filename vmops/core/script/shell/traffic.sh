# shellcheck shell=sh disable=SC2154
#
# Delay, loss and lower rates at TAPs, by the kernel's traffic control.

# Anew: a change of netem keeps what is not said again.
#: sudo tc qdisc replace dev {1} root handle 766d: {2...}
impair_in() {
  tap=$1
  shift
  free_in "$tap"
  tc qdisc add dev "$tap" root handle 766d: "$@"
}

# Without a queue of its own there is nothing to remove, which tc takes for a mistake.
#: sudo tc qdisc del dev {1} root
free_in() {
  tc qdisc del dev "$1" root 2>/dev/null
  return 0
}

# The filter hangs on clsact, as Open vSwitch removes what is called ingress; u32, as any kernel has it.
# What waits at the mirror goes on at the TAP as if it had just come in. Nothing of the worker's own IP
# is to be heard there.
#: sudo ip link add {2} type ifb
#: sudo tc qdisc add dev {2} root handle 766d: {3...}
#: sudo ip link set dev {2} up
#: sudo tc qdisc add dev {1} clsact
#: sudo tc filter add dev {1} ingress protocol all u32 match u32 0 0 action mirred egress redirect dev {2}
impair_out() {
  tap=$1 mirror=$2
  shift 2
  free_out "$tap" "$mirror"
  owner_of "$tap"
  ip link add "$mirror" type ifb && ip link set dev "$mirror" alias "$owner" &&
    set_ip ipv6 "$mirror" disable_ipv6 1 &&
    tc qdisc add dev "$mirror" root handle 766d: "$@" &&
    ip link set dev "$mirror" up &&
    tc qdisc add dev "$tap" clsact &&
    tc filter add dev "$tap" ingress protocol all u32 match u32 0 0 \
      action mirred egress redirect dev "$mirror"
}

#: sudo tc qdisc del dev {1} clsact
#: sudo ip link del dev {2}
free_out() {
  [ -e "/sys/class/net/$2" ] || return 0
  tc qdisc del dev "$1" clsact 2>/dev/null
  ip link del dev "$2"
}

# With the TAP, whose name is all that it needs: without one, no process is started.
drop_mirror() {
  [ ! -e "/sys/class/net/ifb${1#tap}" ] || ip link del dev "ifb${1#tap}"
}

# Of every device, as tc has no other way to name several.
#: sudo tc -j qdisc show
queue_facts() {
  command -v tc >/dev/null || return 0
  tc -j qdisc show
}

# To try it is the only way to know what a kernel has, as it loads its modules by itself: in a network
# namespace of its own, which goes with the last process that is in it.
#: # see in a new network namespace which of netem, tbf and ifb tc can make there
traffic_facts() {
  command -v tc >/dev/null || { echo tc; return 0; }
  unshare --net sh -c '
    tc qdisc add dev lo root netem delay 1ms || echo netem
    tc qdisc del dev lo root
    tc qdisc add dev lo root tbf rate 1mbit burst 16384 latency 100ms || echo tbf
    { ip link add vmops-try type ifb && tc qdisc add dev lo clsact && tc filter add dev lo ingress \
      protocol all u32 match u32 0 0 action mirred egress redirect dev vmops-try; } || echo ifb
    true' 2>/dev/null
}
