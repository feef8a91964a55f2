"""The shell functions that read what a worker has, part of what every script brings along."""

from __future__ import annotations

from typing import Final

FACTS: Final = r"""
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
  if [ ! -c /dev/kvm ]; then echo "kvm absent"
  elif { true <>/dev/kvm; } 2>/dev/null; then echo "kvm usable"
  else echo "kvm denied"; fi
  printf 'qemu '
  command -v qemu-system-x86_64 || echo
}
tap_facts() {
  for file in /sys/class/net/*/tun_flags; do
    [ -e "$file" ] || continue
    tap=${file%/tun_flags}
    owner= carrier=0
    read -r owner <"$tap/ifalias"
    { read -r carrier <"$tap/carrier"; } 2>/dev/null
    echo "${tap##*/} ${carrier:-0} $owner"
  done
}
switch_facts() {
  [ -S /run/openvswitch/db.sock ] || return 0
  name=
  { read -r pid </run/openvswitch/ovs-vswitchd.pid && read -r name <"/proc/$pid/comm"; } 2>/dev/null
  [ "$name" = ovs-vswitchd ] ||
    ovs-appctl --timeout=2 -t ovs-vswitchd version >/dev/null 2>&1 || echo dead
}
listening_facts() {
  ss -Hltn
}
at_home() {
  case $1 in "~" | "~/"*) path=$VMOPS_HOME${1#"~"} ;; *) path=$1 ;; esac
}
disk_facts() {
  at_home "$1"
  df -Pk -- "$path" | { read -r heading; read -r device size used free rest && echo "$free"; }
}
image_facts() {
  for image in "$@"; do
    at_home "$image"
    image=$path
    if [ -f "$image" ] || [ -b "$image" ]; then echo there
    elif [ -e "$image" ]; then echo odd
    else echo missing; fi
  done
}
vm_facts() {
  [ -d "/run/vmops/$1" ] || return 0
  echo directory
  pid_of "$1" || return 0
  echo "pid $pid"
  { cat "/proc/$pid/stat" "/proc/$pid/status" "/proc/$pid/cmdline"; } 2>/dev/null
}
where_vms() {
  for file in /run/vmops/*/ /sys/class/net/tap*; do
    [ ! -e "$file" ] || { "$@"; return; }
  done
  echo none
}
all_vm_facts() {
  for directory in /run/vmops/*/; do
    [ -d "$directory" ] || continue
    vm=${directory%/}
    vm=${vm##*/}
    printf '\0\0vm=%s\n' "$vm"
    vm_facts "$vm"
  done
}
""".strip()
"""What is asked, with as few processes as can be: a fork costs about a millisecond. `where_vms`
runs a command only on a worker with a VM, or a TAP of one."""

WHERE_VMS: Final = "where_vms"
NO_VMS: Final = "none"
"""What `where_vms` prints instead."""
