# shellcheck shell=sh disable=SC2088
# Images: what QEMU will open when it is given one, read with the rights of the SSH user.

# setpriv and no sudo, su or runuser: it is in util-linux, which is Essential, opens no PAM session,
# writes no log, and gives the groups that a login has. Without capabilities and without the way
# back to them, what the user may not open is refused by the kernel itself.
#
# as_ssh_user SECONDS COMMAND...
as_ssh_user() {
  seconds=$1
  shift
  group=
  [ "$SUDO_USER" != "$VMOPS_USER" ] || group=$SUDO_GID
  group=${group:-$(id -g -- "$VMOPS_USER")} || return 1
  timeout -k 1 "$seconds" setpriv --reuid "$VMOPS_USER" --regid "$group" --init-groups \
    --inh-caps=-all --no-new-privs -- "$@"
}

#: # as the SSH user: read the images and their backing files
# image_chains FORMAT PATH ...
#
# No `qemu-img info --backing-chain`: that connects to nbd:// and may open data files by itself, on
# behalf of whoever wrote the header. A program on standard input, and not on a descriptor of its
# own by /proc/self/fd: that would be opened anew, which another user may not.
#
# Who holds an image is looked for only where one is held, as root: all of /proc has to be read. And
# whether root may open it, as QEMU will: a user's FUSE mount keeps root out, and so does NFS.
image_chains() {
  for word in "$@"; do
    case $word in "~" | "~/"*) word=$VMOPS_HOME${word#"~"} ;; esac
    set -- "$@" "$word"
    shift
  done
  {
    as_ssh_user 10 perl - "$@" <<'CHAIN_PL'
@chain.pl@
CHAIN_PL
    echo "code $?"
  } | {
    held='' device='' code=1
    while IFS= read -r line; do
      case $line in
        "code "*) code=${line#code } && break ;;
        '') [ "$#" -lt 2 ] || shift 2; device='' ;;
        *" id "*)
          where=${line#* id } where=${where%%:*}
          open_to_root "$1" "$2" "${line#name }" "${device:-$where}" "$where" || line="$line closed 1"
          device=${device:-$where}
          ;;
      esac
      printf '%s\n' "$line"
      case $line in
        *" held "*)
          line=${line#* id }
          held="$held ${line%% *}"
          ;;
      esac
    done
    [ -z "$held" ] || holders_of "$held"
    exit "$code"
  }
}

# open_to_root FORMAT PATH HEX... DEVICE DEVICE: the first image of a chain is PATH; a later one, HEX,
# is as open as that where it is on the same device.
open_to_root() {
  if [ "$4" = "$5" ]; then
    [ -r "$2" ] && case $1 in base:*) ;; *) [ -w "$2" ] ;; esac
  else
    perl -e 'exit !open my $file, "<", pack "H*", shift' "${3%% *}"
  fi
}

#: # as the SSH user: read the images and their backing files again
# sound_images FORMAT PATH ...: right before QEMU opens them.
sound_images() {
  image_chains "$@" | perl /proc/self/fd/3 3<<'JUDGE_PL'
@judge.pl@
JUDGE_PL
}

# holders_of "DEVICE:INODE ...": a line "PID DEVICE:INODE" for each that has one open.
holders_of() {
  # shellcheck disable=SC2086 # words
  timeout -k 1 10 perl - $1 <<'HOLDERS_PL'
@holders.pl@
HOLDERS_PL
}

#: # see who has {1} open
# image_holders PATH
image_holders() {
  case $1 in "~" | "~/"*) set -- "$VMOPS_HOME${1#"~"}" ;; esac
  timeout -k 1 10 perl - "$1" <<'HOLDERS_PL'
@holders.pl@
HOLDERS_PL
}

# A disk gets its name when it is whole: what was cut leaves NAME.new, which nobody opens and the
# next one replaces. One that is there already is never written over, as qemu-img create would.

# new_disk SECONDS DISK SCRIPT ARGUMENT... - the script makes $1.
new_disk() {
  limit=$1 disk=$2 script=$3
  shift 3
  case $disk in "~" | "~/"*) disk=$VMOPS_HOME${disk#"~"} ;; esac
  # shellcheck disable=SC2016
  as_ssh_user "$limit" sh -c '
    [ ! -e "$1" ] && [ ! -L "$1" ] || { echo "$1 is there already" >&2; exit 1; }
    umask 077
    mkdir -p "${1%/*}" && cd "${1%/*}" || exit 1
    disk=$1 script=$2
    shift 2
    rm -f -- "$disk.new"
    set -- "$disk.new" "$@"
    if eval "$script"; then mv -T -- "$disk.new" "$disk"; else
      rm -f -- "$disk.new"
      exit 1
    fi
  ' vmops "$disk" "$script" "$@"
}

#: sudo -u $SUDO_USER qemu-img create -q -f qcow2 -F {2} -b {1} {3} {4...}
# make_overlay BASE FORMAT DISK [BYTES]: without them as many as the base has. The base's name is
# relative to the folder of the disk.
make_overlay() {
  # shellcheck disable=SC2016
  new_disk 30 "$3" '
    exec 9<"$2" && flock -s -w 20 9 &&
    qemu-img create -q -f qcow2 -F "$3" -b "$2" -- "$1" ${4:+"$4"}
  ' "$1" "$2" "${4:-}"
}

#: sudo -u $SUDO_USER cp --reflink=auto --sparse=always {1} {2}
# clone_base BASE DISK: a copy that is nobody's overlay, without copying where the file system can.
clone_base() {
  # shellcheck disable=SC2016
  new_disk 3600 "$2" 'exec 9<"$2" && flock -s -w 20 9 && cp --reflink=auto --sparse=always -- "$2" "$1" && chmod 600 "$1"' "$1"
}

#: sudo -u $SUDO_USER qemu-img create -q -f {1} {2} {3}
# make_disk FORMAT DISK BYTES
make_disk() {
  # shellcheck disable=SC2016
  new_disk 30 "$2" 'qemu-img create -q -f "$2" -- "$1" "$3"' "$1" "$3"
}

#: sudo -u $SUDO_USER qemu-img resize -q -f {1} {2} {3}
# grow_disk FORMAT DISK BYTES: of a VM that does not run. A smaller size is refused by qemu-img.
grow_disk() {
  # shellcheck disable=SC2088
  case $2 in "~" | "~/"*) set -- "$1" "$VMOPS_HOME${2#"~"}" "$3" ;; esac
  as_ssh_user 30 qemu-img resize -q -f "$1" -- "$2" "$3"
}

#: sudo -u $SUDO_USER rm -f {1}
# remove_disk DISK: absent is fine.
remove_disk() {
  case $1 in "~" | "~/"*) set -- "$VMOPS_HOME${1#"~"}" ;; esac
  as_ssh_user 30 rm -f -- "$1" "$1.new"
}

# What is in the images folder, and who has bases open: those are in use, whatever stands on them.
#: # as the SSH user: read what lies in ~/vm_images, and on what it stands
image_folder() {
  listed=$(
    as_ssh_user 60 perl - "$VMOPS_HOME/vm_images" <<'FOLDER_PL'
@folder.pl@
@chain.pl@
FOLDER_PL
  ) || return 1
  bases=$(printf '%s\n' "$listed" | sed -n '/^chains$/q; s/^base .* //p')
  [ -z "$bases" ] || holders_of "$bases" | sed 's/^/pid /'
  printf '%s\n\n' "$listed"
}

#: sudo -u $SUDO_USER sha256sum ~/vm_images/.vmops/{1}
# image_sum NAME
image_sum() {
  # shellcheck disable=SC2016
  as_ssh_user 7200 sh -c '
    cd "$1" || exit 1
    if command -v openssl >/dev/null; then openssl dgst -sha256 -r "$2"; else sha256sum "$2"; fi
  ' vmops "$VMOPS_HOME/vm_images/.vmops" "$1"
}

# A disk of ours is made under a shared lock of its base, so none is on its way under this one; what
# was made since somebody looked stands in the folder, and names its base in its first cluster.
#: sudo -u $SUDO_USER rm -f ~/vm_images/.vmops/{1}
# remove_base NAME: absent is fine.
remove_base() {
  # shellcheck disable=SC2016
  as_ssh_user 60 sh -c '
    cd "$1" || exit 0
    if [ -e "$2.part" ]; then
      flock -n "$2.part" rm -f -- "$2.part" || { echo "it is on its way there" >&2; exit 1; }
    fi
    [ -e "$2" ] || exit 0
    exec 9<"$2"
    flock -n -x 9 || { echo "a disk is being made on it" >&2; exit 1; }
    for disk in disk-* arrived-*; do
      [ -e "$disk" ] || continue
      ! head -c 65536 -- "$disk" | grep -qaF -- "$2" ||
        { echo "$disk stands on it" >&2; exit 1; }
    done
    rm -f -- "$2"
  ' vmops "$VMOPS_HOME/vm_images/.vmops" "$1"
}

#: # see that there is no {1}
# no_disk DISK
no_disk() {
  case $1 in "~" | "~/"*) set -- "$VMOPS_HOME${1#"~"}" ;; esac
  [ ! -e "$1" ] && [ ! -L "$1" ]
}
