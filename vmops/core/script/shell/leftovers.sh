# shellcheck shell=sh disable=SC2154
#
# What scripts that were cut short have left in /run/vmops.

# A disk is made under another name, and one that was cut keeps it (images.sh): what grows is still on
# its way.
#: # look in $RUN_ROOT for output that nobody waits for, and in $RUN_ROOT/.lock for locks of no VM
#: # look in ~/vm_images/.vmops for disks whose making was cut
left_facts() {
  for left in "$RUN_ROOT"/.said.*; do
    [ ! -d "$left" ] || start_of "${left##*.}" || echo "said ${left##*/}"
  done
  for lock in "$RUN_ROOT"/.lock/*; do
    vm=${lock##*/}
    [ ! -f "$lock" ] || [ -e "$RUN_ROOT/$vm" ] || ! flock -n "$lock" true || echo "lock $vm"
  done
  half_disks -printf 'half %f\n'
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
