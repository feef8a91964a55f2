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
  [ -n "$came" ] || open_history
  [ -n "$day" ] && time_of_day || return 0
  case $VMOPS_USER in ''|*[[:space:][:cntrl:]]*) user=- ;; *) user=$VMOPS_USER ;; esac
  printf '%sT%02d:%02d:%02dZ\t%s\t%s\t%s\t%s\t%s\n' "$day" "$((now / 3600))" "$((now / 60 % 60))" \
    "$((now % 60))" "$user" "$came" "$1" "$2" "$3" >>"$HISTORY/history"
}

# What all lines of a script have in common. Where there are several blocks it is done before them.
open_history() {
  came_from
  look_at_the_clock
}

# One `date` for a script: what has passed since is counted, by the uptime, in hundredths of a second.
look_at_the_clock() {
  clock=$(date -u +%Y-%m-%d:%s:%N)
  case $clock in ????-??-??:*[0-9]:?????????) ;; *) return 1 ;; esac
  day=${clock%%:*} clock=${clock#*:}
  tomorrow=$(((${clock%:*} / 86400 + 1) * 86400))
  clock=${clock%:*}${clock#*:}
  up_for
  began=$((${clock%???????} - up))
}

# A number that begins with 0 would be octal.
up_for() {
  read -r up rest </proc/uptime
  up=$((${up%.*} * 100 + 1${up#*.} - 100))
}

# The seconds of the day.
time_of_day() {
  up_for
  now=$(((began + up) / 100))
  if [ "$now" -ge "$tomorrow" ]; then
    look_at_the_clock || return 1
    now=$(((began + up) / 100))
  fi
  now=$((now - tomorrow + 86400))
}

# The address that the login came from. sudo clears the environment, so it is looked for in that of
# the processes above: sudo's own is the login's. One grep for all of them: `read` would ask the
# kernel for each byte. The nearest comes first, and a blank ends the address; what the shell says of
# the NULs between goes nowhere.
came_from() {
  above=$PPID
  set --
  while [ "${above:-1}" -gt 1 ]; do
    set -- "$@" "/proc/$above/environ"
    while read -r key above; do case $key in PPid:) break ;; esac; done <"/proc/$above/status"
  done
  came=$(grep -ahzm 1 '^SSH_CONNECTION=' "$@")
  came=${came#SSH_CONNECTION=}
  came=${came%% *}
  case $came in ''|*[!0-9a-zA-Z:.%]*) came=- ;; esac
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
