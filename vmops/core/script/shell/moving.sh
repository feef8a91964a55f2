# shellcheck shell=sh disable=SC2016,SC2154
#
# VMs between two workers: their marks, and the disks that come. All of it is done as the SSH user,
# whose folder it is.

in_home() {
  path=$1
  # shellcheck disable=SC2088
  case $1 in "~" | "~/"*) path=$VMOPS_HOME${1#"~"} ;; esac
}

#: # as the SSH user: see that {1} is there or not, as it was when it was read
# mark_is MARK TEXT: an empty text is that there is no mark.
mark_is() {
  in_home "$1"
  if [ ! -e "$path" ]; then [ -z "$2" ]; return; fi
  [ -n "$2" ] && [ "$(as_ssh_user 10 head -c 4096 -- "$path")" = "$2" ]
}

# It must not be lost in a power cut that what is done next outlives.
#: # as the SSH user: write to {1}: {2}
write_mark() {
  in_home "$1"
  as_ssh_user 30 sh -c '
    umask 077
    mkdir -p "${1%/*}" && printf "%s\n" "$2" >"$1.new" && sync "$1.new" &&
      mv -T -- "$1.new" "$1" && sync "${1%/*}"
  ' vmops "$path" "$2"
}

#: # as the SSH user: rm -f {1}
drop_mark() {
  in_home "$1"
  as_ssh_user 30 sh -c 'rm -f -- "$1" "$1.new" && sync "${1%/*}"' vmops "$path"
}

# Of several workers that share the folder one makes the mark: a link is made or it is not, over NFS
# too. What a server has done twice, as its first answer was lost, is still ours.
#: # as the SSH user: write to {1}, unless it is there: {2}
claim_mark() {
  in_home "$1"
  as_ssh_user 30 sh -c '
    umask 077
    mkdir -p "${1%/*}" && mine=$(mktemp -- "$1.XXXXXXXX.new") || exit 1
    printf "%s\n" "$2" >"$mine" && sync "$mine" && ln -T -- "$mine" "$1" 2>/dev/null
    rm -f -- "$mine"
    sync "${1%/*}"
    [ "$(head -c 4096 -- "$1")" = "$2" ] || { echo "another worker has claimed it" >&2; exit 1; }
  ' vmops "$path" "$2"
}

#: # as the SSH user: rm -f {1}  # if it is: {2}
drop_claim() {
  mark_is "$1" "$2" || return 0
  drop_mark "$1"
}

# The shared folders that this one is, by the files that say so.
#: # see which ~/vm_images/.vmops/shared-* there are
shared_facts() {
  for file in "$VMOPS_HOME"/vm_images/.vmops/shared-*; do
    [ ! -f "$file" ] || printf '%s\n' "${file##*/shared-}"
  done
}

# Of the file by which a shared folder is known: whether root may read it, whether the SSH user may
# write beside it, its file system, and by what it is known again on another worker.
#: # of {1}: its file system, inode and time; may root read it, and the SSH user write beside it?
store_facts() {
  in_home "$1"
  root=no
  [ ! -r "$path" ] || root=yes
  as_ssh_user 10 sh -c '
    [ -f "$1" ] || exit 0
    user=no
    [ ! -w "${1%/*}" ] || user=yes
    echo "$2 $user $(stat -f -c %T -- "$1") $(stat -c %i.%Y -- "$1")"
  ' vmops "$path" "$root"
}

# A VM a line, and what its mark says; nothing is run where there is none.
#: # as the SSH user: read each ~/vm_images/.vmops/moving-*
move_facts() {
  for file in "$VMOPS_HOME"/vm_images/.vmops/moving-*; do
    [ -f "$file" ] || continue
    as_ssh_user 10 sh -c '
      cd "$1" && for file in moving-*; do
        case $file in *.new) continue ;; esac
        text=
        IFS= read -r text <"$file"
        printf "%s %s\n" "${file#moving-}" "$text"
      done
    ' vmops "${file%/*}"
    return
  done
}

# Whoever has cut the same move before may have named it: while the mark is there nobody else does.
#: # as the SSH user: mv -n {1} {2}
take_disk() {
  in_home "$2"
  disk=$path
  in_home "$1"
  as_ssh_user 30 sh -c '
    [ ! -L "$2" ] || { echo "$2 is a link" >&2; exit 1; }
    [ ! -e "$2" ] || exit 0
    [ -f "$1" ] || { echo "$2 has not come" >&2; exit 1; }
    chmod 600 "$1" && mv -T -- "$1" "$2" && sync "${2%/*}"
  ' vmops "$path" "$disk"
}

#: # as the SSH user: mv -n {2} {1}
give_back_disk() {
  in_home "$2"
  disk=$path
  in_home "$1"
  as_ssh_user 30 sh -c '
    [ -e "$1" ] || [ ! -e "$2" ] || { mv -T -- "$2" "$1" && chmod 400 "$1"; }
  ' vmops "$path" "$disk"
}

# A disk that the VM has left behind, when it comes back. What stands on it names it in its first
# cluster; another name would take that from under it.
#: # as the SSH user, if no disk beside it stands on it: mv -n {1} {2}
# set_disk_aside DISK NAME
set_disk_aside() {
  in_home "$2"
  aside=$path
  in_home "$1"
  as_ssh_user 60 sh -c '
    cd "${1%/*}" 2>/dev/null || exit 0
    disk=${1##*/}
    [ -e "$disk" ] || [ -L "$disk" ] || exit 0
    [ ! -e "$2" ] && [ ! -L "$2" ] || { echo "$2 is there already" >&2; exit 1; }
    for file in * .[!.]*; do
      if [ ! -f "$file" ] || [ "$file" = "$disk" ]; then continue; fi
      [ -r "$file" ] || { echo "$file, which may stand on $1, cannot be read" >&2; exit 1; }
      ! head -c 4 -- "$file" | grep -qa "^QFI" ||
        ! head -c 65536 -- "$file" | grep -qaF -- "$disk" ||
        { echo "$file may stand on $1" >&2; exit 1; }
    done
    mv -T -- "$disk" "$2" && sync .
  ' vmops "$path" "$aside"
}

#: # as the SSH user: mv -n {2} {1}
put_disk_back() {
  in_home "$2"
  aside=$path
  in_home "$1"
  as_ssh_user 30 sh -c '
    [ -e "$1" ] || [ ! -e "$2" ] || mv -T -- "$2" "$1"
  ' vmops "$path" "$aside"
}

#: # as the SSH user: ls {1*}/*.moved-????????
# set_aside_facts FOLDER...
set_aside_facts() {
  # shellcheck disable=SC2088
  as_ssh_user 30 sh -c '
    home=$1
    shift
    for folder in "$@"; do
      case $folder in "~" | "~/"*) there=$home${folder#"~"} ;; *) there=$folder ;; esac
      for file in "$there"/*.moved-????????; do
        [ ! -f "$file" ] || printf "%s/%s\n" "$folder" "${file##*/}"
      done
    done
  ' vmops "$VMOPS_HOME" "$@"
}

# What comes for another file whose name ends as this one's is not touched.
#: # as the SSH user: rm -f what has come for {1}, and was not taken
remove_arrived() {
  in_home "$1"
  as_ssh_user 60 sh -c '
    cd "${1%/*}" 2>/dev/null || exit 0
    name=${1##*/}
    for file in arrived-*-"$name" arrived-*-"$name".part; do
      rest=${file#arrived-}
      case ${rest#*-} in "$name" | "$name.part") rm -f -- "$file" ;; esac
    done
  ' vmops "$path"
}

# From its standard input: of a name with a backslash the line would begin with one.
#: sudo -u $SUDO_USER sha256sum {1}
# disk_sum PATH
disk_sum() {
  in_home "$1"
  as_ssh_user 7200 sh -c '
    exec <"$1" || exit
    if command -v openssl >/dev/null; then openssl dgst -sha256 -r; else sha256sum; fi
  ' vmops "$path"
}
