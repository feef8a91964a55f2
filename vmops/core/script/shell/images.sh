# shellcheck shell=sh disable=SC2088
# Images: what QEMU will open when it is given one, read with the rights of the SSH user.

# setpriv and no sudo, su or runuser: it is in util-linux, which is Essential, opens no PAM session,
# writes no log, and gives the groups that a login has. Without capabilities and without the way
# back to them, what the user may not open is refused by the kernel itself.
as_ssh_user() {
  set -- "$(id -g -- "$VMOPS_USER")" "$@"
  [ -n "$1" ] || return 1
  group=$1
  shift
  timeout -k 1 10 setpriv --reuid "$VMOPS_USER" --regid "$group" --init-groups \
    --inh-caps=-all --no-new-privs -- "$@"
}

# image_chain FORMAT PATH
#
# No `qemu-img info --backing-chain`: that connects to nbd:// and may open data files by itself, on
# behalf of whoever wrote the header. A program on standard input, and not on a descriptor of its
# own by /proc/self/fd: that would be opened anew, which another user may not.
image_chain() {
  case $2 in "~" | "~/"*) set -- "$1" "$VMOPS_HOME${2#"~"}" ;; esac
  as_ssh_user perl - "$1" "$2" <<'CHAIN_PL'
@chain.pl@
CHAIN_PL
}

# image_holders PATH
image_holders() {
  case $1 in "~" | "~/"*) set -- "$VMOPS_HOME${1#"~"}" ;; esac
  timeout -k 1 10 perl - "$1" <<'HOLDERS_PL'
@holders.pl@
HOLDERS_PL
}
