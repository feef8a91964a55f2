# shellcheck shell=sh disable=SC2154
#
# What is changed in a QEMU that runs.

# The same talk, where it is fine that what it would remove is not there.
#: {1:}
take_back() {
  answer=$("$@") && return 0
  case $answer in
    *'"DeviceNotFound"'*|*'"DeviceNotActive"'*|*'File descriptor named'*'not found'*) return 0 ;;
    *'Failed to find node with node-name='*|*'"Job '*'not found"'*) return 0 ;;
    *'"NBD server not running"'*) return 0 ;;
  esac
  printf '%s\n' "$answer"
  return 1
}

# What stands behind a card is not taken away from under it.
#: {3:}  # unless PID {1} has {2} open
unless_open() {
  if grep -qsx "iff:[[:space:]]*$2" "/proc/$1/fdinfo"/*; then
    echo "PID $1 has its TAP $2 still open" >&2
    return 1
  fi
  shift 2
  "$@"
}

# For talks that open files with the rights of the SSH user.
#: {1:}
with_files() {
  VMOPS_IDS="$(id -u -- "$VMOPS_USER") $(id -G -- "$VMOPS_USER")" || return 1
  export VMOPS_IDS
  "$@"
}

# The same for a file, which a path may lead to no more by now.
#: {3:}  # unless PID {1} has {2} open
unless_file_open() {
  for open in "/proc/$1/fd"/*; do
    # shellcheck disable=SC3013 # dash has it, and so have bash and busybox
    if [ "$open" -ef "$2" ]; then
      echo "PID $1 has $2 still open" >&2
      return 1
    fi
  done
  shift 2
  "$@"
}

# Memory is written and read with the rights of the SSH user, whose folder it is.

memory_door() {
  perl /proc/self/fd/3 "$@" 3<<'MEMORY_PL'
@memory.pl@
MEMORY_PL
}

memory_path() {
  path=$VMOPS_HOME${1#"~"}
  part=${path%/*}/.${path##*/}
}

# Only when there is a socket is QEMU told to write to it. Standard input is what it is told.
#: # write $RUN_ROOT/{1}/memory.sock to {3}, behind a line with the command line of its QEMU, while
#: # its monitor ($RUN_ROOT/{1}/qmp.sock) is told: stop; migrate to that socket; wait until that is done
save_memory() {
  door=$RUN_ROOT/$1/memory.sock
  memory_path "$3"
  # shellcheck disable=SC2016
  { printf '%s\n' "$5"; memory_door take "$door" "$2" "$4"; } |
    as_ssh_user "$4" sh -c '
      umask 077
      mkdir -p "${1%/*}" && rm -f -- "$1" && cat >"$1" && sync "$1"
    ' sh "$part" &
  writer=$!
  tries=250
  until [ -S "$door" ] || [ "$tries" = 0 ]; do tries=$((tries - 1)); sleep 0.02; done
  talk_to_monitors
  code=$?
  wait "$writer" || { [ "$code" != 0 ] || echo "its memory could not be written" >&2; code=1; }
  return "$code"
}

# It has its name when it is whole.
#: # as the SSH user: mv {1}.part {1}
keep_memory() {
  memory_path "$1"
  as_ssh_user 30 mv -T -- "$part" "$path"
}

#: # as the SSH user: rm -f {2}  # if {1} runs still
drop_memory() {
  ! running "$1" || discard_memory "$2"
}

#: # as the SSH user: rm -f {1}
discard_memory() {
  memory_path "$1"
  as_ssh_user 30 rm -f -- "$path" "$part"
}

#: # as the SSH user: mv {1} {1}.part
set_aside() {
  memory_path "$1"
  as_ssh_user 30 mv -T -- "$path" "$part"
}

#: {2:}
#: # as the SSH user: mv {1}.part {1}
put_back() {
  memory_path "$1"
  shift
  [ -e "$path" ] || { [ -e "$part" ] && "$@" && as_ssh_user 30 mv -T -- "$part" "$path"; }
}

#: # as the SSH user: rm -f {1}.part
discard_aside() {
  memory_path "$1"
  as_ssh_user 30 rm -f -- "$part"
}

#: # send what is in {2} to $RUN_ROOT/{1}/memory.sock, while the monitor of its new QEMU
#: # ($RUN_ROOT/{1}/qmp.sock) is told: migrate-incoming from that socket; wait until that is done
load_memory() {
  memory_path "$2"
  # shellcheck disable=SC2016
  as_ssh_user "$3" sh -c '{ IFS= read -r head && cat; } <"$1"' sh "$path" |
    memory_door give "$RUN_ROOT/$1/memory.sock" &
  feeder=$!
  talk_to_monitors
  code=$?
  [ "$code" = 0 ] || kill "$feeder" 2>/dev/null
  wait "$feeder" || code=1
  return "$code"
}

#: {2:}  # if {1} runs
while_running() {
  running "$1" || return 0
  shift
  "$@"
}

#: # see that {2} is {1}
memory_is() {
  memory_path "$2"
  if [ -e "$path" ]; then [ "$1" = there ]; else [ "$1" = gone ]; fi
}

# A VM a line, and the first line of its file; nothing is run where none is suspended.
#: # as the SSH user: read the first line of each ~/vm_images/.vmops/memory-*
memory_facts() {
  for file in "$VMOPS_HOME"/vm_images/.vmops/memory-*; do
    [ -f "$file" ] || continue
    # shellcheck disable=SC2016
    as_ssh_user 10 sh -c '
      cd "$1" && for file in memory-*; do
        head=
        IFS= read -r head <"$file"
        printf "%s %s\n" "${file#memory-}" "$head"
      done
    ' sh "${file%/*}"
    return
  done
}
