# shellcheck shell=sh disable=SC2154
#
# Its program comes on a descriptor of its own: as an argument it would stand in every list of
# processes, and be too long for a sudo that logs what is run.
talk_to_monitors() {
  perl /proc/self/fd/3 "$RUN_ROOT" "$MONITOR_BYTES" "$MONITOR_LINES" "$MONITOR_LINE_BYTES" 3<<'QMP_PL'
@qmp.pl@
QMP_PL
}
