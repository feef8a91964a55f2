# shellcheck shell=sh disable=SC2154
#
# What is changed in a QEMU that runs.

# The same talk, where it is fine that what it would remove is not there.
#: {1:}
take_back() {
  answer=$("$@") && return 0
  case $answer in *'"DeviceNotFound"'*|*'"DeviceNotActive"'*|*'File descriptor named'*'not found'*) return 0 ;; esac
  printf '%s\n' "$answer"
  return 1
}

# What stands behind a card is not taken away from under it.
#: {3:}  # unless PID {1} has {2} open
unless_open() {
  if grep -qsx "iff:[[:space:]]*$2" "/proc/$1/fdinfo"/*; then
    echo "PID $1 has its TAP $2 still open" >&2
    return 1
  fi
  shift 2
  "$@"
}
