# shellcheck shell=sh disable=SC2154
#
# Disks of VMs: what there is of them, and what room.

# Read as the SSH user, whose folder it is: root may be kept out. The room is that of the nearest folder there is.
#: # as the SSH user: read how large the disks in ~/vm_images/.vmops are, and what is free there
own_disks() {
  # shellcheck disable=SC2016
  as_ssh_user 30 sh -c '
    for folder in "$1/vm_images/.vmops" "$1/vm_images" "$1" /; do [ ! -d "$folder" ] || break; done
    stat -f -c "free %a %S" -- "$folder" && exec perl - "$1/vm_images/.vmops"
  ' vmops "$VMOPS_HOME" <<'DISKS_PL'
@disks.pl@
DISKS_PL
}
