# shellcheck shell=sh disable=SC2154
#
# What scripts that were cut short have left in /run/vmops.

#: # look in $RUN_ROOT for output that nobody waits for, and in $RUN_ROOT/.lock for locks of no VM
left_facts() {
  for left in "$RUN_ROOT"/.said.*; do
    [ ! -d "$left" ] || start_of "${left##*.}" || echo "said ${left##*/}"
  done
  for lock in "$RUN_ROOT"/.lock/*; do
    vm=${lock##*/}
    [ ! -f "$lock" ] || [ -e "$RUN_ROOT/$vm" ] || ! flock -n "$lock" true || echo "lock $vm"
  done
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
