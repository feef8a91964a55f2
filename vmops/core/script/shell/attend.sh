# shellcheck shell=sh disable=SC2034,SC2154
#
# What goes on after the script that starts it, for one caller who comes through a socket, and ends with
# him. The socket's folder is made here: a worker that only rules networks never had a VM to make it.

# The socket, how long a caller is waited for, the bridge, the VLAN, and what else door.pl takes.
#: # with perl, for who comes to {1}, until he has gone:
#: sudo ovs-vsctl add-port {3} DOOR tag={4} -- set Interface DOOR type=internal
#: # in a network namespace of its own, with an address that nobody has: {9...}
open_door() {
  path=$1 patience=$2 bridge=$3
  shift 3
  make_run_root "$RUN_ROOT" || return
  bridge=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" br-to-parent "$bridge") || return
  perl /proc/self/fd/3 "$path" "$patience" "$bridge" "$@" 3<<'DOOR_PL'
@attend.pl@
@door.pl@
DOOR_PL
}

# The same with OVN's port and its MAC in place of the VLAN.
#: # with perl, for who comes to {1}, until he has gone:
#: sudo ovs-vsctl add-port {3} DOOR -- set Interface DOOR type=internal external_ids:iface-id=PORT  # and its MAC
#: # in a network namespace of its own, with the address that OVN has for it: {9...}
open_door_in_ovn() {
  open_door "$@"
}

# The socket, how long a caller is waited for, and what else seat.pl takes.
#: # with perl, for who comes to {1}, until he has gone:
#: sudo ovn-nbctl create Logical_Switch_Port  # a port in network {3} for the worker at {4}, with one of {5}
take_seat() {
  make_run_root "$RUN_ROOT" || return
  perl /proc/self/fd/3 "$@" 3<<'SEAT_PL'
@attend.pl@
@seat.pl@
SEAT_PL
}

# The socket, the TAP, how many frames, and a filter.
#: # with perl, for who comes to {1}: sudo tcpdump -n -U -w - -i {3}, ended when he has gone
capture_frames() {
  make_run_root "$RUN_ROOT" || return
  perl /proc/self/fd/3 "$@" 3<<'CAPTURE_PL'
@attend.pl@
@capture.pl@
CAPTURE_PL
}
