# shellcheck shell=sh disable=SC2154
#
# The logs in the run directories. One is trimmed by punching a hole at its beginning: QEMU goes on
# writing meanwhile, nothing is copied, and the offsets of what is kept stay what they were.

# Trimming answers nothing, so it runs beside the script and costs it no time.
#: # keep the newest {1} KiB of each log in $RUN_ROOT/*/log
trim_logs() {
  for log in "$RUN_ROOT"/*/log/*; do
    [ ! -s "$log" ] || { trim_long_logs "$1" >/dev/null 2>&1 & return; }
  done
}

trim_long_logs() {
  du -k "$RUN_ROOT"/*/log/* | while read -r kib file; do
    [ "$kib" -le "$(($1 + $1 / 8))" ] || trim_log "$file" "$1"
  done
}

# A full tmpfs refuses what is printed: the hole is then followed by a word on that.
trim_log() {
  free=$(stat -f -c %a "$1") && size=$(stat -c %s "$1") || return 1
  fallocate -p -o 0 -l "$(((size - $2 * 1024) / 4096 * 4096))" "$1" || return 1
  [ "$free" -gt 0 ] || [ "${1##*/}" != console ] ||
    printf '\r\n[vmops: the log was full, output is missing here]\r\n' >>"$1"
}

# Of all logs at once, for the log_part of each.
#: # read the sizes of $RUN_ROOT/*/log/*
measure_logs() {
  sizes=$(stat -c '%n=%s' "$RUN_ROOT"/*/log/* 2>/dev/null)
  return 0
}

#: sudo cat $RUN_ROOT/{1}/log/{2}
print_log() {
  [ ! -s "$RUN_ROOT/$1/log/$2" ] || cat "$RUN_ROOT/$1/log/$2"
}

# What came after byte $3, at most $4 bytes, and of that the last lines. Its first line says from
# where to where.
#: sudo tail -n {5} $RUN_ROOT/{1}/log/{2}
log_part() {
  log=$RUN_ROOT/$1/log/$2
  case $sizes in *"$log="*) size=${sizes#*"$log="} ;; *) return 1 ;; esac
  size=${size%%[!0-9]*}
  from=$3
  [ "$from" -le "$size" ] || from=0
  [ "$((size - from))" -le "$4" ] || from=$((size - $4))
  echo "$from $size"
  [ "$from" -lt "$size" ] || return 0
  tail -c "+$((from + 1))" "$log" | head -c "$((size - from))" | tail -n "$5"
}
