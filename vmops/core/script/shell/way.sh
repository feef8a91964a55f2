# shellcheck shell=sh disable=SC2154
#
# The way of a live migration, at the worker that a VM leaves.

# The VM, its QEMU's user, how many seconds a caller is waited for, and may be silent for; how many
# connections QEMU may make.
#: # with perl, for who comes to $RUN_ROOT/{1}/way.sock, until he has gone: carry what QEMU of {1} says
#: # to $RUN_ROOT/{1}/way-nbd.sock and $RUN_ROOT/{1}/way-ram.sock
open_way() {
  perl /proc/self/fd/3 "$RUN_ROOT/$1" "$2" "$3" "$4" "$5" 3<<'WAY_PL'
@way.pl@
WAY_PL
}

# For what may have ended by itself.
#: {1:}
never_mind() {
  "$@" >/dev/null 2>&1 || :
}
