# shellcheck shell=sh disable=SC2154
#
# The worker's history: a line for each change, in a file that is root's, bounded, and there after a
# reboot. It is for people, nothing is decided by it: what goes wrong with it stops nothing.

# A line: time, user, address, action, VM, result, with tabs between them.
note_change() {
  case $3 in "done"|failed) ;; *) return 0 ;; esac
  write_change "$@" 2>/dev/null
  return 0
}

# Where others than root may write, somebody may have made a link of it.
write_change() {
  # shellcheck disable=SC3067
  { [ -d "$HISTORY" ] || mkdir -m 0700 "$HISTORY" 2>/dev/null || [ -d "$HISTORY" ]; } &&
    [ -O "$HISTORY" ] && [ ! -L "$HISTORY" ] || return 0
  came_from
  case $VMOPS_USER in ''|*[[:space:][:cntrl:]]*) user=- ;; *) user=$VMOPS_USER ;; esac
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' \
    "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$user" "$from" "$1" "$2" "$3" >>"$HISTORY/history"
}

# The address that the login came from. sudo clears the environment, so it is looked for in that of
# the processes above: sudo's own is the login's. `read` leaves the NULs between variables out, and a
# blank ends the address.
came_from() {
  from=- above=$PPID
  while [ "${above:-1}" -gt 1 ]; do
    while read -r words || [ -n "$words" ]; do
      case $words in *SSH_CONNECTION=*)
        words=${words#*SSH_CONNECTION=}
        from=${words%% *}
        case $from in ''|*[!0-9a-zA-Z:.%]*) from=- ;; esac
        return
      esac
    done <"/proc/$above/environ"
    while read -r key above; do case $key in PPid:) break ;; esac; done <"/proc/$above/status"
  done
}

# Two files, of which the older one goes when the newer one is full. It runs beside the script.
trim_history() {
  {
    size=$(stat -c %s "$HISTORY/history") && [ "$size" -gt "$HISTORY_BYTES" ] || return 0
    flock -n 8 && size=$(stat -c %s "$HISTORY/history") && [ "$size" -gt "$HISTORY_BYTES" ] &&
      mv -f "$HISTORY/history" "$HISTORY/history.1"
  } 8>>"$HISTORY/lock"
}

#: sudo sh -c 'cat $HISTORY/history.1 $HISTORY/history'
history_facts() {
  for file in "$HISTORY/history.1" "$HISTORY/history"; do
    [ ! -f "$file" ] || cat "$file"
  done
}
