# shellcheck shell=sh disable=SC2154
#
# Blocks that run at once, and what several of them do together before they begin.

# Output of blocks that run at once lies in files until all have ended: so it comes back whole,
# whoever wrote when. A folder that a killed script left goes with the next one.
open_lanes() {
  remove_outputs "$RUN_ROOT"/.said.*
  said=$RUN_ROOT/.said.$$
  { make_run_root "$RUN_ROOT" && mkdir "$said"; } 2>/dev/null || said=$(mktemp -d)
}

#: sudo rm -rf {1*}  # if the scripts are gone that wrote there
remove_outputs() {
  for left in "$@"; do
    [ ! -d "$left" ] || start_of "${left##*.}" || rm -rf "$left"
  done
}

close_lanes() {
  # A signal that is trapped ends a `wait`.
  until wait; do :; done
  cat "$said"/*.out
  cat "$said"/*.err >&2
  rm -rf "$said"
}

# Without its guards a block does not join, nor while somebody else has its lock. The descriptor is
# one digit: a POSIX shell knows no more, and wants it as a word of the script.
join() {
  make_lock "$2" || return 1
  eval "exec $1>>\"\$2\""
  # shellcheck disable=SC3013
  if flock -n "$1" && [ "$2" -ef "/proc/self/fd/$1" ] && quietly "$3"; then return 0; fi
  eval "exec $1>&-"
  return 1
}

quietly() {
  "$1" </dev/null >/dev/null 2>&1
}

# Words of a block that has joined.
only_if() {
  eval "joins=\$f_$1"
  shift
  [ -z "$joins" ] || "$@"
}
