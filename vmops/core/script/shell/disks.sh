# shellcheck shell=sh disable=SC2154
#
# Disks of VMs: what there is of them, and what room.

# Read as the SSH user, whose folder it is. The room is that of the nearest folder there is.
#: # as the SSH user: read how large the disks in ~/vm_images/.vmops are, and what is free there
own_disks() {
  for folder in "$VMOPS_HOME/vm_images/.vmops" "$VMOPS_HOME/vm_images" "$VMOPS_HOME" /; do
    [ ! -d "$folder" ] || break
  done
  stat -f -c 'free %a %S' -- "$folder" || return 1
  as_ssh_user 30 perl - "$VMOPS_HOME/vm_images/.vmops" <<'DISKS_PL'
@disks.pl@
DISKS_PL
}
