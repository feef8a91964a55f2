# shellcheck shell=sh disable=SC2034,SC2154
#
# The run directory of a VM. It is root's. The group is that of its QEMU, which may make files
# there once it is known who it is, and remove its own: the pidfile, as it does on a clean exit. So
# a QEMU that its guest rules may put there what it likes, links too, but takes nothing's place.

# The group by number, as the id has no name. Until QEMU has started nobody else may write there: it
# opens its pidfile as root.
#: sudo mkdir -m 0711 $RUN_ROOT/{1} $RUN_ROOT/{1}/log; sudo chgrp {2} $RUN_ROOT/{1}
#: sudo mount -t tmpfs -o size={3}k vmops $RUN_ROOT/{1}/log
make_run_directory() {
  make_run_root "$RUN_ROOT" && perl - "$RUN_ROOT" "$@" <<'MAKE_PL'
@number.pl@
@make.pl@
MAKE_PL
}

# What a guest is told may hold secrets: only its own QEMU may read it, which opens it as root. The
# instance-id is for whoever asks what it was told.
#: # put the CD of its first boot ({4}) into $RUN_ROOT/{1}/seed.iso
#: sudo chgrp {2} $RUN_ROOT/{1}/seed.iso; sudo chmod 0440 $RUN_ROOT/{1}/seed.iso
bring_seed() {
  gzip -dc >"$RUN_ROOT/$1/seed.iso" &&
    chgrp "$2" "$RUN_ROOT/$1/seed.iso" &&
    chmod 0440 "$RUN_ROOT/$1/seed.iso" &&
    echo "$3" >"$RUN_ROOT/$1/seed"
}

# Of each VM that was told something else than in the word behind it.
#: # where they have another one than they are to have, read $RUN_ROOT/*/seed.iso
other_seeds() {
  while [ $# -gt 1 ]; do
    has=
    # Root reads nothing behind a link of QEMU's: there may be no end of it.
    # shellcheck disable=SC3067 # every sh of Debian and Ubuntu knows -O
    if [ -O "$RUN_ROOT/$1" ] && [ -O "$RUN_ROOT/$1/seed" ] && [ ! -L "$RUN_ROOT/$1/seed" ]; then
      read -r has <"$RUN_ROOT/$1/seed"
    fi
    case $has in ''|"$2") ;; *)
      part "$1"
      echo "$has"
      gzip -c "$RUN_ROOT/$1/seed.iso" | base64
    esac
    shift 2
  done
}

# A QEMU that its guest ruled may have left processes, which hold its image and its TAPs.
#: sudo umount $RUN_ROOT/{1}/log; sudo rm -rf $RUN_ROOT/{1}
remove_run_directory() {
  [ -d "$RUN_ROOT/$1" ] || return 0
  recorded "$1" || user=
  clear_up "$user" "$RUN_ROOT/$1/log"
  rm -rf --one-file-system "${RUN_ROOT:?}/$1"
}

# clear_up UID [FOLDER]: what runs as the user of a VM that has ended, and where its logs are.
clear_up() {
  perl - "$RUN_ROOT" "$@" <<'CLEAR_PL'
@number.pl@
@clear.pl@
CLEAR_PL
}

# Of a VM whose QEMU has ended and whose TAPs somebody has open all the same: what that has left.
#: # end what runs as the user of {1}, and see that nobody has {2*} open
end_left() {
  ! recorded "$1" || clear_up "$user"
  shift
  found=" $(tap_facts | while read -r tap state used rest; do [ "$used" = 0 ] || echo "$tap"; done) "
  for tap in "$@"; do
    case "
$found" in *[[:space:]]"$tap"[[:space:]]*)
      echo "a process that vmops did not start uses its TAP $tap; see which:" \
        "sudo sh -c 'grep -ls $tap /proc/[0-9]*/fdinfo/*'" >&2
      return 1 ;;
    esac
  done
}

# A QEMU that has just been started, and all that it left.
#: # end the QEMU of {1}, and remove its run directory
abandon() {
  ! running "$1" || end_process "$1" "$pid" "$started" KILL 10 >/dev/null || return 1
  remove_run_directory "$1"
}

# The sockets belong to the SSH user, so that sshd can forward them.
#: sudo sh -c 'chown $SUDO_USER $RUN_ROOT/{1}/*.sock'
open_sockets() {
  vm=$1
  shift
  for socket in "$@"; do
    socket=$RUN_ROOT/$vm/$socket
    if [ ! -S "$socket" ] || [ -L "$socket" ]; then
      echo "there is no socket $socket" >&2
      return 1
    fi
    set -- "$@" "$socket"
    shift
  done
  chown -h "$VMOPS_USER" "$@"
}
