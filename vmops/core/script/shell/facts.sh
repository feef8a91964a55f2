# shellcheck shell=sh disable=SC2034,SC2154
#
# What is asked of a worker, with as few processes as can be.

#: # read memory, CPUs, /dev/kvm, /dev/net/tun, the paths of perl and QEMU
host_facts() {
  read -r up idle </proc/uptime
  echo "home $VMOPS_HOME"
  echo "user $VMOPS_USER"
  echo "uptime $up"
  while read -r key value rest; do
    case $key in MemTotal:) echo "$key $value" ;; MemAvailable:) echo "$key $value"; break ;; esac
  done </proc/meminfo
  read -r cpus </sys/devices/system/cpu/online && echo "cpus $cpus"
  while read -r inside outside count; do echo "uids $count"; break; done </proc/self/uid_map
  # To open it is the only way to know that it may be used: it may be there and not be allowed.
  if [ ! -c /dev/kvm ]; then echo "kvm absent"
  elif { true <>/dev/kvm; } 2>/dev/null; then echo "kvm usable"
  else echo "kvm denied"; fi
  [ -c /dev/net/tun ] || echo "tun missing"
  command -v perl >/dev/null || echo "perl missing"
  printf 'qemu '
  command -v qemu-system-x86_64 || echo
}

# A TAP that is up has a carrier while a process has it open. One that is down tells nothing: who has
# it open is asked of all processes then. Those of the switch itself, of which some are always down
# in the userspace datapath, are not worth that: a VM's begins with "tap".
#: # of each TAP, read ifalias, flags, carrier and mtu in /sys/class/net
tap_facts() {
  held=
  for file in /sys/class/net/*/tun_flags; do
    [ -e "$file" ] || continue
    tap=${file%/tun_flags} tap=${tap##*/}
    owner='' used=0 state=up mtu=
    read -r owner <"/sys/class/net/$tap/ifalias"
    read -r mtu <"/sys/class/net/$tap/mtu"
    if is_up "$tap"; then
      { read -r used <"/sys/class/net/$tap/carrier"; } 2>/dev/null
    else
      state=down
      case $tap in tap*)
        held=${held:-" $(held_taps) "}
        case $held in *" $tap "*) used=1 ;; esac
      esac
    fi
    echo "$tap $state ${used:-0} $mtu $owner"
  done
}

held_taps() {
  perl /proc/self/fd/3 3<<'TAPS_PL'
@taps.pl@
TAPS_PL
}

# A bridge whose controller is away may have nothing that forwards. The words "secure" may stand
# elsewhere as well: then one more look tells.
#: sudo ovs-vsctl {1...}
switch_tables() {
  tables=$(ovs-vsctl "$@") || return
  echo "$tables"
  case $tables in *'"secure"'*) silent_bridges ;; esac
  case $tables in *"\"$OVN_BRIDGE\""*) ovn_state ;; esac
}

# Says nothing where it follows its central. What it has written stays when it has gone: that is no sign.
ovn_state() {
  name=
  { read -r pid </run/ovn/ovn-controller.pid && read -r name <"/proc/$pid/comm"; } 2>/dev/null
  [ "$name" = ovn-controller ] || { echo 'ovn gone'; return 0; }
  said=$(ovn-appctl --timeout=2 -t ovn-controller connection-status 2>/dev/null)
  [ "$said" != connected ] || return 0
  told=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" --if-exists get Open_vSwitch . external_ids:ovn-remote 2>&1)
  [ -n "$told" ] || said=untold
  echo "ovn ${said:-deaf}"
}

silent_bridges() {
  set -- --timeout="$SWITCH_LIMIT_S" --bare
  case $(ovs-vsctl "$@" --columns=is_connected list Controller) in *true*) return ;; esac
  for bridge in $(ovs-vsctl "$@" --columns=name find Bridge fail_mode=secure); do
    [ "$bridge" != "$OVN_BRIDGE" ] || continue
    # Whatever versions of OpenFlow it is set to.
    flows=$(ovs-ofctl --timeout=2 -O OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15 \
      dump-flows "$bridge" 2>/dev/null) || continue
    echo "$flows" | grep 'actions=' | grep -qv 'actions=drop$' || echo "silent $bridge"
  done
}

#: # see that ovs-vswitchd is alive, by its pidfile in /run/openvswitch
switch_facts() {
  [ -S /run/openvswitch/db.sock ] || return 0
  name=
  { read -r pid </run/openvswitch/ovs-vswitchd.pid && read -r name <"/proc/$pid/comm"; } 2>/dev/null
  [ "$name" = ovs-vswitchd ] || {
    ovs-appctl --timeout=2 -t ovs-vswitchd version >/dev/null 2>&1 || echo dead
    return 0
  }
  read -r stat <"/proc/$pid/stat"
  case ${stat##*) } in [Tt]*) echo stopped ;; esac
}

# The two marks of a worker that is drained. OVSDB writes each change into its file before it confirms
# it: what is not in there is nowhere. Most workers are never drained, and so it is not asked there.
#: sudo ovs-vsctl --if-exists get Open_vSwitch . external_ids:{1} external_ids:{2}
drained_facts() {
  never_written "$1" "$2" ||
    vsctl --if-exists get Open_vSwitch . "external_ids:$1" "external_ids:$2"
}

# Two words that are not in OVSDB's file. Fails also where that is at no usual place: one that lies there
# is OVSDB's only if that has it open.
never_written() {
  name=
  { read -r pid </run/openvswitch/ovsdb-server.pid && read -r name <"/proc/$pid/comm"; } 2>/dev/null
  [ "$name" = ovsdb-server ] || return
  for file in /etc/openvswitch/conf.db /var/lib/openvswitch/conf.db; do
    for open in "/proc/$pid/fd/"*; do
      # shellcheck disable=SC3013 # dash and bash have it
      [ "$open" -ef "$file" ] || continue
      grep -qsFe "$1" -e "$2" "$open"
      [ $? = 1 ]
      return
    done
  done
  return 1
}

#: sudo ss -Hltn
listening_facts() {
  ss -Hltn
}

# shellcheck disable=SC2088 # a tilde that no shell has expanded
at_home() {
  case $1 in "~" | "~/"*) path=$VMOPS_HOME${1#"~"} ;; *) path=$1 ;; esac
}

# Not `df`, whose first column is free text: a source may hold blanks and numbers. Not as root: what
# keeps root out gives it zeros.
#: stat -f -c '%a %S' -- {1}
disk_facts() {
  at_home "$1"
  as_ssh_user 10 stat -f -c '%a %S' -- "$path"
}

# A device whose ROM is missing ends QEMU at its start. QEMU knows where it looks.
#: qemu-system-x86_64 -L help  # and which option ROMs lie there
rom_facts() {
  timeout -k 1 10 qemu-system-x86_64 -L help | while read -r folder; do
    for file in "$folder"/*.rom; do [ ! -r "$file" ] || echo "${file##*/}"; done
  done
}

# Runs a command only on a worker with a VM, or with a TAP that may be one's.
#: # where there is a VM:
#: {1:}
where_vms() {
  for file in "$RUN_ROOT"/*/ /sys/class/net/tap*; do
    [ ! -e "$file" ] || { "$@"; return; }
  done
  echo none
}

# Runs a command only where one of these VMs has a monitor.
#: # where one of {1} is there:
#: {2:}
where_runs() {
  for vm in $1; do
    [ ! -S "$RUN_ROOT/$vm/qmp.sock" ] || { shift; "$@"; return; }
  done
  echo none
}

# By the kernel's name of it, which a QEMU may choose, and those that are asked for.
#: # read of each QEMU /proc/PID/stat, status and cmdline
qemu_facts() {
  for process in /proc/[0-9]*; do
    pid=${process#/proc/} name=
    { read -r name <"$process/comm"; } 2>/dev/null
    case " $* " in *" $pid "*) name=qemu-system ;; esac
    case $name in qemu-system*)
      part "$pid"
      for file in stat status cmdline; do head -c 65536 "$process/$file" 2>/dev/null; done
    esac
  done
}

# Where there is a VM.
#: # read $RUN_ROOT/*/pid, and of each PID /proc/PID/stat, status and cmdline
all_vm_facts() {
  for directory in "$RUN_ROOT"/*/; do
    [ ! -d "$directory" ] || { vm_facts; return; }
  done
}

vm_facts() {
  perl /proc/self/fd/3 3<<'VMS_PL' <<WORDS
@vms.pl@
VMS_PL
$N
$RUN_ROOT
WORDS
}
