# shellcheck shell=sh disable=SC2034,SC2154
#
# Processes by identity: the PID of the pidfile, that pidfile as a word of the command line, and the
# start time. A PID alone may have been given to somebody else.

# Field 22 of /proc/PID/stat. The name in field 2 may hold blanks and brackets, so what counts
# begins behind the last bracket, with field 3.
start_of() {
  started=
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086 # words
  set -- ${stat##*) }
  case $1 in Z|X) return 1 ;; esac
  started=${20}
}

still() {
  start_of "$1" && [ "$started" = "$2" ]
}

# The pidfile lies where its QEMU may write. What is no plain file there is not opened, as a FIFO
# would hold us up, and no more is read than a few digits: it may be as long as the disk. Linux
# counts PIDs to 4194304.
pid_of() {
  pid=
  [ -f "$RUN_ROOT/$1/pid" ] && [ ! -L "$RUN_ROOT/$1/pid" ] || return 1
  pid=$(dd if="$RUN_ROOT/$1/pid" iflag=nofollow,nonblock bs=20 count=1 status=none 2>/dev/null)
  case $pid in ''|*[!0-9]*|????????*) return 1 ;; esac
}

running() {
  pid_of "$1" && grep -qzxFe "$RUN_ROOT/$1/pid" "/proc/$pid/cmdline" 2>/dev/null
}

not_running() {
  ! running "$1"
}

still_running() {
  running "$1" && [ "$pid" = "$2" ] && still "$2" "$3"
}

not_replaced() {
  ! pid_of "$1" || [ "$pid" = "$2" ]
}

#: # wait up to {3} s until the process of the pidfile has ended
await_end() {
  tries=$(($3 * 50))
  while still "$1" "$2"; do
    [ "$tries" -gt 0 ] || { echo "PID $1 is still there after $3 s" >&2; return 1; }
    tries=$((tries - 1))
    sleep 0.02
  done
}

#: sudo kill -s {3} PID  # that of the pidfile, if it is still this VM's QEMU; then up to {4} s until it is gone
end_process() {
  still "$1" "$2" || return 0
  kill -s "$3" "$1" || return 1
  echo "SIG$3"
  await_end "$1" "$2" "$4"
}

# The holder of a socket, if that descriptor still is that socket.
#: sudo kill {1}  # if its descriptor {2} is socket {3} still
end_holder() {
  [ "$(readlink "/proc/$1/fd/$2")" != "socket:[$3]" ] || kill "$1"
}

#: sudo cat $RUN_ROOT/{1}/pid
report_process() {
  if pid_of "$1" && start_of "$pid"; then echo "$pid $started"; return 0; fi
  echo "QEMU ended as soon as it had started" >&2
  return 1
}

# `-runas` is gone in QEMU 10, and what took its place is unknown before 9.1. A QEMU that refuses an
# option has done nothing yet, and to try costs less than to ask for the version.
#: sudo {3...} -runas {2}
start_qemu() {
  limit=$1
  user=$2
  shift 2
  refusal=$(timeout -k 2 "$limit" "$@" -runas "$user" 2>&1)
  code=$?
  case $refusal in *"-runas: invalid option"*)
    timeout -k 2 "$limit" "$@" -run-with "user=$user"
    return
  esac
  [ -z "$refusal" ] || echo "$refusal" >&2
  return "$code"
}
