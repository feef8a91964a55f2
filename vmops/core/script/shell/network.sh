# shellcheck shell=sh disable=SC2154
#
# TAPs and Open vSwitch's ports.

remove_own_tap() {
  owner=
  [ ! -e "/sys/class/net/$1/ifalias" ] || read -r owner <"/sys/class/net/$1/ifalias"
  [ "$owner" != "$2" ] || ip link del dev "$1"
}

#: sudo ip -force -batch - <<'.'
#: {1}
#: .
remove_taps() {
  echo "$1" | ip -force -batch - >/dev/null 2>&1
  return 0
}

#: # see that no TAP is left
gone_taps() {
  for tap in "$@"; do
    [ ! -e "/sys/class/net/$tap" ] || { echo "TAP $tap is still there" >&2; return 1; }
  done
}

# A switch that hangs is waited for once in a block: then the block is deaf.
#: sudo ovs-vsctl --timeout=$SWITCH_LIMIT_S {1...}
vsctl() {
  [ -n "$deaf" ] || {
    ovs-vsctl --timeout="$SWITCH_LIMIT_S" "$@"
    set -- "$?"
    [ "$1" = 142 ] || return "$1"
  }
  echo "the switch has not taken it within $SWITCH_LIMIT_S s: does ovs-vswitchd hang?" >&2
  return 142
}

# Pairs of a port and its tag. `add-port` of a device that cannot be opened ends with 0: ofport says.
#: # read the ports back: tag, and that the switch has taken them
holds_ports() {
  pairs=$*
  asked=
  while [ "$#" -gt 0 ]; do
    asked="$asked -- get Port $1 tag -- get Interface $1 ofport"
    shift 2
  done
  # shellcheck disable=SC2086 # words, here and below: names of TAPs hold no blanks
  found=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" $asked) || return 1
  # shellcheck disable=SC2086
  set -- $found
  for word in $pairs; do
    case $word in
      *[!0-9]*) tap=$word ;;
      "$1") [ "$2" -gt 0 ] 2>/dev/null && shift 2 && continue
        echo "the switch could not take port $tap (ofport $2)" >&2; return 1 ;;
      *) echo "port $tap has tag $1 where $word was set" >&2; return 1 ;;
    esac
  done
}

# It does not wait for the switch, whose device goes next.
remove_own_ports() {
  vm=$1
  shift
  for port in "$@"; do
    owner=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" --if-exists \
      get Interface "$port" external_ids:vmops-vm) || return 1
    owner=${owner#\"}
    [ "${owner%\"}" != "$vm" ] ||
      ovs-vsctl --timeout="$SWITCH_LIMIT_S" --no-wait --if-exists del-port "$port" || return 1
  done
}
