# shellcheck shell=sh disable=SC2154
#
# Tunnels between workers.

# `add-port` of a tunnel that the switch cannot make ends with 0: ofport and error say so.
#: # read the ports {1*} back: that the switch has taken them
holds_tunnels() {
  for port in "$@"; do
    found=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" get Interface "$port" ofport error) || return 1
    case $found in
      [1-9]*) ;;
      *) echo "the switch could not make tunnel $port: $(echo "$found" | tr '\n' ' ')" >&2
        return 1 ;;
    esac
  done
}

# The device that has the address, and how large its packets may be.
#: ip -o addr show to {1}  # and of that device, read mtu in /sys/class/net
underlay_facts() {
  ip -o addr show to "$1" | while read -r _ device rest; do
    mtu=
    { read -r mtu <"/sys/class/net/$device/mtu"; } 2>/dev/null
    [ -z "$mtu" ] || echo "$device $mtu"
  done
}
