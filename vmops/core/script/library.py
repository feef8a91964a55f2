"""The shell functions that every script brings along, for work that needs more than one program.

Plain POSIX sh, as dash reads it: no arrays, no `local`, no process substitution. A function that
looks at a process compares its start time (field 22 of /proc/PID/stat): a PID alone may have been
given to somebody else.
"""

from __future__ import annotations

from typing import Final

from vmops.core.script.fact_library import FACTS
from vmops.core.script.log_library import LOGS

BLOCKS: Final = r"""
say() {
  printf '@@%s %s\n' "$N" "$*" && printf '@@%s %s\n' "$N" "$*" >&2 || gone=1
}
finish() {
  say x "$B" "$1"
  exit 0
}
goes_on() {
  [ -z "$gone" ] || [ -n "$finishes" ]
}
told() {
  say b "$B" "$1"
  "s_$1" </dev/null 9>&-
  code=$?
  say e "$B" "$1" "$code"
}
r() {
  goes_on || return 1
  told "$1"
  [ "$code" -ne 142 ] || deaf=1
  goes_on || return 1
  return "$code"
}
undo_one() {
  "u_$1" </dev/null 9>&-
  say u "$B" "$1" "$?"
}
fail() {
  for step in "$@" $kept; do undo_one "$step"; done
  finish failed
}
end() {
  goes_on || fail
  finish done
}
make_lock() {
  [ -d "${1%/*}" ] || (umask 066 && mkdir -p "${1%/*}") || return 1
  true >>"$1"
}
take_lock() {
  make_lock "$1" || return 1
  exec 9>>"$1"
  flock -w "$2" 9
}
""".strip()
"""Frames, undo and the lock. Where the operator is gone, or the time is up (a SIGTERM), what can be
undone is undone. A step that SIGALRM has ended (142) leaves `deaf` to those after it."""

LANES: Final = r"""
in_one_line() {
  IFS='
'
  set -f
  set -- $1
  IFS=$LINE_END
  said=$*
  unset IFS
  set +f
}
framed() {
  said=$("$1_$3" </dev/null 2>&1 9>&-)
  code=$?
  in_one_line "$said"
  printf '@@%s %s %s %s %s %.900s\n' "$N" "$2" "$B" "$3" "$code" "$said" || gone=1
}
told() {
  framed s E "$1"
}
undo_one() {
  framed u U "$1"
}
quietly() {
  "$1" </dev/null >/dev/null 2>&1
}
join() {
  make_lock "$2" || return 1
  eval "exec $1>>\"\$2\""
  flock -n "$1" && quietly "$3" || { eval "exec $1>&-"; return 1; }
}
only_if() {
  eval "joins=\$f_$1"
  shift
  [ -z "$joins" ] || "$@"
}
""".strip()
"""Where blocks run at once a step is told in one short line: that is a single write, in bash too,
which a pipe keeps whole. A block joins its group when its lock is free and its guards hold."""

PROCESSES: Final = r"""
start_of() {
  started=
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  set -- ${stat##*) }
  case $1 in Z|X) return 1 ;; esac
  started=${20}
}
still() {
  start_of "$1" && [ "$started" = "$2" ]
}
pid_of() {
  pid=
  [ -f "/run/vmops/$1/pid" ] && [ ! -L "/run/vmops/$1/pid" ] || return 1
  { read -r pid <"/run/vmops/$1/pid"; } 2>/dev/null
  [ -n "$pid" ]
}
running() {
  pid_of "$1" && grep -qzxFe "/run/vmops/$1/pid" "/proc/$pid/cmdline" 2>/dev/null
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
await_end() {
  tries=$(($3 * 50))
  while still "$1" "$2"; do
    [ "$tries" -gt 0 ] || { echo "PID $1 is still there after $3 s" >&2; return 1; }
    tries=$((tries - 1))
    sleep 0.02
  done
}
end_process() {
  still "$1" "$2" || return 0
  kill -s "$3" "$1" || return 1
  echo "SIG$3"
  await_end "$1" "$2" "$4"
}
end_holder() {
  [ "$(readlink "/proc/$1/fd/$2")" != "socket:[$3]" ] || kill "$1"
}
report_process() {
  pid_of "$1" && start_of "$pid" || { echo "QEMU ended as soon as it had started" >&2; return 1; }
  echo "$pid $started"
}
""".strip()
"""A pidfile lies where its QEMU may write: what is no plain file there is not opened, as a FIFO
would hold up whoever reads it."""

START: Final = r"""
start_qemu() {
  limit=$1
  user=$2
  shift 2
  said=$(timeout -k 2 "$limit" "$@" -runas "$user" 2>&1)
  code=$?
  case $said in *"-runas: invalid option"*)
    timeout -k 2 "$limit" "$@" -run-with "user=$user"
    return
  esac
  [ -z "$said" ] || echo "$said" >&2
  return "$code"
}
""".strip()
"""`-runas` is gone in QEMU 10, and what took its place is unknown before 9.1. A QEMU that refuses
an option has done nothing yet, and to try costs less than to ask for the version."""

START_QEMU: Final = "start_qemu"
VSCTL: Final = "vsctl"

RUN_DIRECTORY: Final = r"""
make_run_directory() {
  [ ! -e "/run/vmops/$1" ] &&
    install -d -m 0711 -o "$2" -g "$2" "/run/vmops/$1" "/run/vmops/$1/log" &&
    mount -t tmpfs -o "size=$3k,mode=0700,nosuid,nodev,noexec" vmops "/run/vmops/$1/log"
}
remove_run_directory() {
  [ -d "/run/vmops/$1" ] || return 0
  umount -l "/run/vmops/$1/log" 2>/dev/null
  rm -rf --one-file-system "/run/vmops/$1"
}
abandon() {
  ! running "$1" || ! start_of "$pid" || end_process "$pid" "$started" KILL 10 >/dev/null ||
    return 1
  remove_run_directory "$1"
}
open_sockets() {
  vm=$1
  shift
  for socket in "$@"; do
    socket=/run/vmops/$vm/$socket
    [ -S "$socket" ] && [ ! -L "$socket" ] || { echo "there is no socket $socket" >&2; return 1; }
    set -- "$@" "$socket"
    shift
  done
  chown -h "$VMOPS_USER" "$@"
}
""".strip()
"""The directory belongs to the user id of its QEMU, which removes the pidfile on a clean exit. The
sockets belong to the SSH user, so that sshd can forward them. Whoever rules QEMU rules its
directory too, and could put a link in a socket's place."""

TAPS: Final = r"""
remove_own_tap() {
  owner=
  [ ! -e "/sys/class/net/$1/ifalias" ] || read -r owner <"/sys/class/net/$1/ifalias"
  [ "$owner" != "$2" ] || ip link del dev "$1"
}
remove_taps() {
  echo "$1" | ip -force -batch - >/dev/null 2>&1
  return 0
}
vsctl() {
  [ -n "$deaf" ] || {
    ovs-vsctl --timeout=10 "$@"
    set -- "$?"
    [ "$1" = 142 ] || return "$1"
  }
  echo "the switch has not taken it within 10 s: does ovs-vswitchd hang?" >&2
  return 142
}
holds_ports() {
  pairs=$*
  asked=
  while [ "$#" -gt 0 ]; do
    asked="$asked -- get Port $1 tag -- get Interface $1 ofport"
    shift 2
  done
  found=$(ovs-vsctl --timeout=10 $asked) || return 1
  set -- $found
  for word in $pairs; do
    case $word in
      *[!0-9]*) tap=$word ;;
      "$1") [ "$2" -gt 0 ] 2>/dev/null && shift 2 && continue
        echo "the switch could not take port $tap (ofport $2)" >&2; return 1 ;;
      *) echo "port $tap has tag $1 where $word was set" >&2; return 1 ;;
    esac
  done
}
remove_own_ports() {
  vm=$1
  shift
  for port in "$@"; do
    owner=$(ovs-vsctl --timeout=10 --if-exists get Interface "$port" external_ids:vmops-vm) ||
      return 1
    owner=${owner#\"}
    [ "${owner%\"}" != "$vm" ] ||
      ovs-vsctl --timeout=10 --no-wait --if-exists del-port "$port" || return 1
  done
}
gone_taps() {
  for tap in "$@"; do
    [ ! -e "/sys/class/net/$tap" ] || { echo "TAP $tap is still there" >&2; return 1; }
  done
}
""".strip()

SHELL: Final = "\n".join(
    (
        "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin LC_ALL=C",
        "export PATH LC_ALL",
        "umask 077",
        "trap '' PIPE HUP",
        BLOCKS,
        PROCESSES,
        START,
        RUN_DIRECTORY,
        LOGS,
        TAPS,
        FACTS,
    )
)

PLAIN: Final = {
    "make_run_directory": (
        "sudo install -d -m 0711 -o {2} -g {2} /run/vmops/{1} /run/vmops/{1}/log\n"
        "sudo mount -t tmpfs -o size={3}k vmops /run/vmops/{1}/log"
    ),
    "remove_run_directory": "sudo umount /run/vmops/{1}/log; sudo rm -rf /run/vmops/{1}",
    "open_sockets": "sudo sh -c 'chown $SUDO_USER /run/vmops/{1}/*.sock'",
    "report_process": "sudo cat /run/vmops/{1}/pid",
    "await_end": "# wait up to {3} s until the process of the pidfile has ended",
    "end_process": (
        "sudo kill -s {3} PID  # that of the pidfile, if it is still this VM's QEMU; "
        "then up to {4} s until it is gone"
    ),
    "trim_logs": "# keep the newest {1} KiB of each log in /run/vmops/*/log",
    "reserve_log": "sudo fallocate -n -l {2} /run/vmops/{1}/log/qemu",
    "print_log": "sudo cat /run/vmops/{1}/log/{2}",
    "measure_logs": "# read the sizes of /run/vmops/*/log/*",
    "log_part": "sudo tail -n {5} /run/vmops/{1}/log/{2}",
    "remove_taps": "sudo ip -force -batch - <<'.'\n{1}\n.",
    "gone_taps": "# see that no TAP is left",
    "holds_ports": "# read the ports back: tag, and that the switch has taken them",
    "host_facts": "# read memory, CPUs, /dev/kvm, QEMU's path",
    "all_vm_facts": "# read /run/vmops/*/pid, and of each PID /proc/PID/stat, status and cmdline",
    "tap_facts": "# of each TAP, read ifalias and carrier in /sys/class/net",
    "switch_facts": "# see that ovs-vswitchd is alive, by its pidfile in /run/openvswitch",
    "listening_facts": "sudo ss -Hltn",
    "image_facts": "# see that the images are there",
}
"""What the functions do, in the words of a dry run; {1} is a function's first argument."""
