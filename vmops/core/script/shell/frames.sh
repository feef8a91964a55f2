# shellcheck shell=sh disable=SC2034,SC2154
# (Variables: what the renderer writes into each block, and what one function leaves to another.)
#
# How a block tells what it does, and how it ends. The renderer writes the rest: functions s_N (the
# work of step N), u_N (its undo), and the order in which they are called.
#
# Every file here is plain POSIX sh, as dash reads it: no arrays, no `local`, no process
# substitution. A process costs about a millisecond, so what the shell can do itself, it does.
# A comment that begins with `#:` has what the function does in the words of a dry run: {1} is its
# first argument. Comments do not travel.

# Frames begin with a word that only this shell knows: the script itself may be read in a list of
# processes, and what is printed between frames may be somebody else's. It comes first of all, after
# the mark that the caller knows.
open_frames() {
  read -r N </proc/sys/kernel/random/uuid || N=$1
  printf '@@%s %s\n' "$1" "$N"
  printf '@@%s %s\n' "$1" "$N" >&2
}

# A frame on both streams. Where blocks run at once both are files, and whether the operator is
# still there is told by a newline to him: block_apart has put that pipe on descriptor 0.
say() {
  printf '@@%s %s\n' "$N" "$*" && printf '@@%s %s\n' "$N" "$*" >&2 || gone=1
  [ -z "$said" ] || echo >&0 || gone=1
}

# What follows in this step's output is on that subject.
part() {
  printf '@@%s p %s\n' "$N" "$1"
}

# A block that changes something has words for the worker's history: `note_change ACTION VM`.
finish() {
  # shellcheck disable=SC2086
  [ -z "$noted" ] || $noted "$1"
  say x "$B" "$1"
  exit 0
}

# A block whose operator is gone, or whose time is up, goes on where nothing could be undone.
goes_on() {
  [ -z "$gone" ] || [ -n "$finishes" ]
}

# 142 is SIGALRM: a tool that gave up waiting for its daemon. Later steps need not try it again.
run_step() {
  goes_on || return 1
  say b "$B" "$1"
  "s_$1" </dev/null 9>&-
  code=$?
  say e "$B" "$1" "$code"
  [ "$code" -ne 142 ] || deaf=1
  goes_on || return 1
  return "$code"
}

undo_one() {
  "u_$1" </dev/null 9>&-
  say u "$B" "$1" "$?"
}

# shellcheck disable=SC2120 # the renderer's lines name the step that failed
fail() {
  # shellcheck disable=SC2086 # a list of numbers
  for step in "$@" $kept; do undo_one "$step"; done
  finish failed
}

end() {
  # shellcheck disable=SC2119 # no step failed
  goes_on || fail
  finish "done"
}

# Other users may pass through, as QEMUs and sshd must, and may not look.
make_run_root() {
  [ -d "$1" ] || (umask 066 && mkdir -p "$1")
}

make_lock() {
  make_run_root "${1%/*}" || { echo "there is no folder ${1%/*}, and none can be made" >&2; return 1; }
  true >>"$1"
}

# The words of whoever could not make it stand before the block's end.
take_lock() {
  make_lock "$1" || finish unlocked
  exec 9>>"$1"
  flock -w "$2" 9 || finish locked
  # Its name may have been given up meanwhile, as nobody held it: the next one makes it anew.
  # shellcheck disable=SC3013 # every sh of Debian and Ubuntu knows -ef
  [ "$1" -ef /proc/self/fd/9 ] || take_lock "$@"
}
