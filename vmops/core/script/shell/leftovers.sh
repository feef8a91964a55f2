# shellcheck shell=sh disable=SC2154
#
# What scripts that were cut short have left.

# A disk is made under another name, and one that was cut keeps it (images.sh): what grows is still on
# its way.
#: # look in $RUN_ROOT for output that nobody waits for, and in $RUN_ROOT/.lock for locks of no VM
#: # look in ~/vm_images/.vmops for disks whose making was cut
#: # look in $NET_ROOT and /run/netns for networks whose making was cut
left_facts() {
  for left in "$RUN_ROOT"/.said.*; do
    [ ! -d "$left" ] || start_of "${left##*.}" || echo "said ${left##*/}"
  done
  for lock in "$RUN_ROOT"/.lock/*; do
    vm=${lock##*/}
    [ ! -f "$lock" ] || [ -e "$RUN_ROOT/$vm" ] || ! flock -n "$lock" true || echo "lock $vm"
  done
  half_disks -printf 'half %f\n'
  left_networks
}

# A network is whole when it was written down what it is: the last step of its making. While somebody
# makes or removes one nothing is known.
left_networks() {
  lock=$NET_ROOT/.lock/node
  if [ -f "$lock" ] && ! flock -n "$lock" true; then echo "busy networks"; return; fi
  for space in "$NET_ROOT"/*/ /run/netns/vmops-*; do
    name=${space%/} name=${name##*/} name=${name#vmops-}
    if [ -f "$NET_ROOT/$name/spec" ]; then echo "served $name"
    elif [ -e "$space" ]; then echo "network $name"
    fi
  done
}

# Pairs of a network's name and its short one. Under the node's lock: what is whole by now stays.
#: # for each NETWORK and SHORT of {1...} that is not whole: sudo ovs-vsctl --if-exists del-port vmlSHORT
#: # sudo ip netns del vmops-NETWORK; sudo rm -rf $NET_ROOT/NETWORK
remove_left_networks() {
  while [ "$#" -gt 0 ]; do
    [ -f "$NET_ROOT/$1/spec" ] || remove_network "$1" "$2" || return 1
    shift 2
  done
}

half_disks() {
  [ ! -d "$VMOPS_HOME/vm_images/.vmops" ] || as_ssh_user 30 find "$VMOPS_HOME/vm_images/.vmops" \
    -maxdepth 1 -type f -name 'disk-*.new' -mmin +60 "$@"
}

#: sudo -u $SUDO_USER find ~/vm_images/.vmops -name 'disk-*.new' -mmin +60 -delete
remove_half_disks() {
  half_disks -delete
}

# Who waits for one that is removed makes it anew: see take_lock.
#: sudo flock -n $RUN_ROOT/.lock/{1*} rm -f $RUN_ROOT/.lock/{1*}
remove_locks() {
  for vm in "$@"; do
    lock=$RUN_ROOT/.lock/$vm
    [ ! -f "$lock" ] || [ -e "$RUN_ROOT/$vm" ] || flock -n "$lock" rm -f "$lock"
  done
  return 0
}
