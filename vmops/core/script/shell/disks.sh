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

# The first pair of code and variables that there is: of Debian and Ubuntu, then of Fedora and Arch.
#: # see where OVMF's files are
firmware_facts() {
  for pair in /usr/share/OVMF/OVMF_CODE_4M.fd:/usr/share/OVMF/OVMF_VARS_4M.fd \
    /usr/share/OVMF/OVMF_CODE.fd:/usr/share/OVMF/OVMF_VARS.fd \
    /usr/share/edk2/x64/OVMF_CODE.4m.fd:/usr/share/edk2/x64/OVMF_VARS.4m.fd; do
    [ ! -r "${pair%:*}" ] || [ ! -r "${pair#*:}" ] || { echo "${pair%:*} ${pair#*:}"; return; }
  done
}

#: sudo -u $SUDO_USER qemu-img convert -f raw -O qcow2 {1} {2}
# make_variables TEMPLATE DISK
make_variables() {
  # shellcheck disable=SC2016
  new_disk 30 "$2" 'qemu-img convert -q -f raw -O qcow2 -- "$2" "$1"' "$1"
}
