# shellcheck shell=sh disable=SC2034,SC2154
#
# Processes by identity: PID and start time as root has written them down, and the user id that is
# that VM's alone. A PID alone may have been given to somebody else, and what a pidfile says is its
# QEMU's to write; so is its command line.

# Field 22 of /proc/PID/stat. The name in field 2 may hold blanks and brackets, so what counts
# begins behind the last bracket, with field 3. It may hold newlines too.
start_of() {
  started='' stat=''
  { while read -r line; do stat="$stat$line "; done <"/proc/$1/stat"; } 2>/dev/null
  [ -n "$stat" ] || return 1
  # shellcheck disable=SC2086 # words
  set -- ${stat##*) }
  case $1 in Z|X) return 1 ;; esac
  started=${20}
}

#: # see that PID {1} is still the same process
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

# Where the directory is root's, what its record says is so: PID, start time and user id.
recorded() {
  pid=
  # shellcheck disable=SC3067 # every sh of Debian and Ubuntu knows -O
  [ -O "$RUN_ROOT/$1" ] && [ -O "$RUN_ROOT/$1/process" ] && [ ! -L "$RUN_ROOT/$1/process" ] &&
    read -r pid since user rest <"$RUN_ROOT/$1/process"
}

# All four user ids: real, effective, saved, and for files.
has_user() {
  while read -r key real effective saved files; do
    case $key in Uid:)
      [ "$real $effective $saved $files" = "$2 $2 $2 $2" ]
      return
    esac
  done 2>/dev/null <"/proc/$1/status"
  return 1
}

# A QEMU of a VM, by user and by the pidfile of its command line: where there is no record yet.
is_qemu_of() {
  has_user "$2" "$3" && grep -qzxFe "$RUN_ROOT/$1/pid" "/proc/$2/cmdline" 2>/dev/null
}

# Without a record (it was started by an older version, or its start was cut short) the pidfile says
# which process, and the group of the directory whose it has to be.
running() {
  if recorded "$1"; then
    still "$pid" "$since" && has_user "$pid" "$user"
    return
  fi
  pid_of "$1" && start_of "$pid" && user=$(stat -c %g "$RUN_ROOT/$1") &&
    is_qemu_of "$1" "$pid" "$user"
}

#: # see that {1} does not run
not_running() {
  ! running "$1"
}

#: # see that it is still the same QEMU of {1} that runs
still_running() {
  running "$1" && [ "$pid" = "$2" ] && [ "$started" = "$3" ]
}

# What a QEMU left is still that one's: by its record, or by its pidfile where that tells another.
#: # see that what {1} left is still the same
same_remains() {
  { recorded "$1" && [ "$pid" = "$2" ]; } || { pid_of "$1" && [ "$pid" = "$2" ]; }
}

#: # see that no other QEMU of {1} was started meanwhile
not_replaced() {
  { ! recorded "$1" && ! pid_of "$1"; } || [ "$pid" = "$2" ]
}

#: # wait up to {3} s until the process of the pidfile has ended
await_end() {
  tries=$(($3 * 50))
  # A QEMU that is killed is gone in a few milliseconds.
  for pause in 0.003 0.005 0.008; do
    still "$1" "$2" || return 0
    sleep "$pause"
  done
  while still "$1" "$2"; do
    [ "$tries" -gt 0 ] || { echo "PID $1 is still there after $3 s" >&2; return 1; }
    tries=$((tries - 1))
    sleep 0.02
  done
}

# Whoever looks before all is removed must not call it a crash, nor the guest's own doing.
#: # write down in $RUN_ROOT/{1}/process that it is being stopped
note_end() {
  ! recorded "$1" || echo ended >>"$RUN_ROOT/$1/process"
}

# Looked at again right before the signal: facts came over the wire.
#: sudo kill -s {4} PID  # that of {1}, if it is still this VM's QEMU; then up to {5} s until it is gone
end_process() {
  if ! still_running "$1" "$2" "$3"; then
    still "$2" "$3" || return 0
    echo "PID $2 is not the QEMU of $1" >&2
    return 1
  fi
  note_end "$1"
  kill -s "$4" "$2" || return 1
  echo "SIG$4"
  await_end "$2" "$3" "$5"
}

# The holder of a socket, if that descriptor still is that socket.
#: sudo kill {1}  # if its descriptor {2} is socket {3} still
end_holder() {
  [ "$(readlink "/proc/$1/fd/$2")" != "socket:[$3]" ] || kill "$1"
}

# record_process VM UID BYTES SOCKET...: what has to be done when its QEMU has started.
#: # see that it is this VM's QEMU, and write down PID and start time in $RUN_ROOT/{1}/process
#: sudo chown {2} $RUN_ROOT/{1}/pid; sudo chmod 1771 $RUN_ROOT/{1}
#: sudo chown $SUDO_USER $RUN_ROOT/{1}/{4*}
#: sudo fallocate -n -l {3} $RUN_ROOT/{1}/log/qemu
record_process() {
  vm=$1 uid=$2
  shift 2
  perl - "$RUN_ROOT" "$vm" "$uid" "$VMOPS_USER" "$@" <<'RECORD_PL'
@number.pl@
@record.pl@
RECORD_PL
}

# One that somebody else has started. Its directory is root's alone: it knows nothing of it.
#: sudo mkdir -m 0711 $RUN_ROOT/{1}
#: # write down PID {2}, its start time, user id and command line in $RUN_ROOT/{1}
adopt_process() {
  if ! still "$2" "$3" || ! has_user "$2" "$4"; then
    echo "PID $2 has ended" >&2
    return 1
  fi
  make_run_root "$RUN_ROOT" && mkdir -m 0711 "$RUN_ROOT/$1" &&
    head -c 65536 "/proc/$2/cmdline" >"$RUN_ROOT/$1/command" &&
    echo "$2 $3 $4 adopted" >"$RUN_ROOT/$1/process" && echo "$2"
}

#: sudo grep -ls 'iff:.{2*}' /proc/{1}/fdinfo/*
holds_taps() {
  pid=$1
  shift
  for tap in "$@"; do
    grep -qsx "iff:[[:space:]]*$tap" "/proc/$pid/fdinfo"/* ||
      { echo "PID $pid does not have its TAP $tap open" >&2; return 1; }
  done
}

#: sudo cat $RUN_ROOT/{1}/pid
report_process() {
  if running "$1"; then echo "$pid $started"; return 0; fi
  echo "QEMU ended as soon as it had started" >&2
  return 1
}

# `-runas` is gone in QEMU 10, and what took its place is unknown before 9.1. A QEMU that refuses an
# option has done nothing yet, and to try costs less than to ask for the version. What it is started
# with is written down before: a QEMU that its guest rules can write over its own command line.
#: sudo {4...} -runas {3}
start_qemu() {
  vm=$1
  limit=$2
  user=$3
  shift 3
  printf '%s\0' "$@" >"$RUN_ROOT/$vm/command" || return 1
  refusal=$(timeout -k 2 "$limit" "$@" -runas "$user" 2>&1)
  code=$?
  case $refusal in *"-runas: invalid option"*)
    timeout -k 2 "$limit" "$@" -run-with "user=$user"
    return
  esac
  [ -z "$refusal" ] || echo "$refusal" >&2
  return "$code"
}
