# shellcheck shell=sh disable=SC2154
#
# TAPs and Open vSwitch's ports.

# set_up_taps BRIDGE LINES TAP... LINES TAP...: lines as a person would type them, which hold blanks, for
# one `ip -batch`, and the TAPs that they make. Then the worker's own IP is kept off the
# TAPs, to which the switch alone is to listen: no IPv6 on them, so no address of theirs and no belief
# in a guest's router advertisements; no answer to ARP; and as nothing is routed through them, rp_filter
# drops what comes in. What the kernel does not have cannot be switched off.
#: {2}
#: # in /proc/sys/net/ipv6/conf/{3*}: disable_ipv6 1, accept_ra 0; in ipv4: arp_ignore 8, rp_filter 1
set_up_taps() {
  mtu='' batch='' taps='' newline='
'
  { read -r mtu <"/sys/class/net/$1/mtu"; } 2>/dev/null
  shift
  # Of several VMs none may have joined.
  [ "$#" -gt 0 ] || return 0
  for word in "$@"; do
    case $word in *" "*) ;; *) taps="$taps $word" && continue ;; esac
    while read -r line; do
      line=${line#sudo ip }
      case $line in *" mtu "*) line="${line% mtu *} mtu ${mtu:-1500}" ;; esac
      batch=$batch$line$newline
    done <<LINES
$word
LINES
  done
  ip -batch - <<BATCH || return 1
$batch
BATCH
  for tap in $taps; do
    set_ip ipv6 "$tap" disable_ipv6 1 && set_ip ipv6 "$tap" accept_ra 0 &&
      set_ip ipv6 "$tap" addr_gen_mode 1 && set_ip ipv4 "$tap" arp_ignore 8 &&
      set_ip ipv4 "$tap" rp_filter 1 || return 1
  done
}

set_ip() {
  [ ! -e "/proc/sys/net/$1/conf/$2/$3" ] || echo "$4" >"/proc/sys/net/$1/conf/$2/$3"
}

#: sudo ip link set dev {1*} up
raise_taps() {
  for tap in "$@"; do echo "link set dev $tap up"; done | ip -batch -
}

# The names of those that were plugged.
#: # go on where an interface was plugged
any_plugged() {
  [ "$#" -gt 0 ] || { echo "no interface could be plugged" >&2; return 1; }
}

#: sudo ip link del dev {1}  # if it is this VM's
remove_own_tap() {
  owner_of "$1"
  [ "$owner" != "$2" ] || { ip link del dev "$1" && drop_mirror "$1"; }
}

# A TAP that was there already: only what this VM's launch has changed.
#: # make the TAP {1} as it was
restore_tap() {
  owner_of "$1"
  [ "$owner" != "$2" ] || ip link set dev "$1" "$4" alias "$3" mtu "$5"
}

owner_of() {
  owner=
  [ ! -e "/sys/class/net/$1/ifalias" ] || read -r owner <"/sys/class/net/$1/ifalias"
}

#: sudo ip -force -batch - <<'.'
#: {1}
#: .
remove_taps() {
  echo "$1" | ip -force -batch - >/dev/null 2>&1
  return 0
}

#: # see that no TAP is left, nor what it was impaired by
gone_taps() {
  for tap in "$@"; do
    drop_mirror "$tap"
    [ ! -e "/sys/class/net/$tap" ] || { echo "TAP $tap is still there" >&2; return 1; }
  done
}

# A switch that hangs is waited for once in a block: then the block is deaf.
#: sudo ovs-vsctl --timeout=$SWITCH_LIMIT_S {1...}
vsctl() {
  [ "$#" -gt 0 ] || return 0
  [ -n "$deaf" ] || {
    ovs-vsctl --timeout="$SWITCH_LIMIT_S" "$@"
    set -- "$?"
    [ "$1" = 142 ] || return "$1"
  }
  echo "the switch has not taken it within $SWITCH_LIMIT_S s: does ovs-vswitchd hang?" >&2
  return 142
}

# Pairs of a port and its tag. `add-port` of a device that cannot be opened ends with 0: ofport says.
# A TAP that the switch has opened in between may be down again.
#: # read the ports back: tag, that the switch has taken them, and that the TAPs are up
holds_ports() {
  [ "$#" -gt 0 ] || return 0
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
      "$1") [ "$2" -gt 0 ] 2>/dev/null || {
          echo "the switch could not take port $tap (ofport $2)" >&2; return 1; }
        is_up "$tap" || { echo "TAP $tap does not stay up" >&2; return 1; }
        shift 2 ;;
      *) echo "port $tap has tag $1 where $word was set" >&2; return 1 ;;
    esac
  done
}

# Fours of a port, its tag, its trunks and its mode.
#: # read the ports back: tag, trunks and vlan_mode, that the switch has taken them, and that the TAPs are up
holds_trunks() {
  while [ "$#" -gt 0 ]; do
    found=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" get Port "$1" tag trunks vlan_mode \
      -- get Interface "$1" ofport) || return 1
    case $found in
      "$2
$3
$4
"[1-9]*) ;;
      *) echo "port $1 is not the trunk that was set: $(echo "$found" | tr '\n' ' ')" >&2
        return 1 ;;
    esac
    is_up "$1" || { echo "TAP $1 does not stay up" >&2; return 1; }
    shift 4
  done
}

# Pairs of a port and its name in OVN. A guest that starts before its port is up loses its first frames.
# `ovn-installed` alone would do on this worker; that it is up, the others know too.
#: # see that OVN has the ports {1...} for this worker, and wait until it says that they are up
holds_logical_ports() {
  [ "$#" -gt 0 ] || return 0
  newline='
'
  found=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" get Open_vSwitch . external_ids:ovn-remote external_ids:system-id) ||
    return 1
  central=${found%%"$newline"*} own=${found##*"$newline"}
  central=${central#\"} central=${central%\"} own=${own#\"} own=${own%\"}
  keys=''
  case $central in ssl:*) keys=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" get-ssl) || return 1 ;; esac
  here='' there='' asked='' ports='' count=$(($# / 2))
  while [ "$#" -gt 0 ]; do
    asked="$asked -- get Port_Binding $2 requested_chassis"
    here="$here -- wait-until Interface $1 external_ids:ovn-installed=true"
    ports="$ports $2"
    is_up "$1" || { echo "TAP $1 does not stay up" >&2; return 1; }
    shift 2
  done
  are_for_here || return 1
  # A port that is for two workers is up as long as the other one has it, and this one has it beside.
  for port in $ports; do
    there="$there -- wait-until Port_Binding $port up=true"
    case " $beside " in *" $port "*) there="$there additional_chassis{>=}$mine" ;; esac
  done
  # shellcheck disable=SC2086 # words: names hold no blanks
  southbound $there 2>/dev/null &&
    ovs-vsctl --timeout="$SWITCH_LIMIT_S" $here 2>/dev/null && return
  echo "OVN has not brought up$ports within $SWITCH_LIMIT_S s: does ovn-controller hang?" >&2
  return 1
}

# The central as this worker's controller has it: by TLS, with the keys that Open vSwitch was told.
southbound() {
  if [ -n "$keys" ]; then
    set -- --private-key="$(key_of 'Private key')" --certificate="$(key_of Certificate)" \
      --ca-cert="$(key_of 'CA Certificate')" "$@"
  fi
  ovn-sbctl --db="$central" --timeout="$SWITCH_LIMIT_S" "$@"
}

key_of() {
  echo "$keys" | while IFS= read -r line; do
    case $line in "$1: "*) echo "${line#"$1: "}"; return ;; esac
  done
}

# Without a word of OVN, a port that it does not have, or has for another worker, would only be waited for.
are_for_here() {
  # shellcheck disable=SC2086
  found=$(southbound --bare --columns=_uuid \
    find Chassis "name=\"$own\"" $asked 2>&1) || {
    port=${found#*no row \"}
    case $found in
      *'in table Port_Binding'*) echo "OVN has no port ${port%%\"*}: fab net.up makes it" >&2 ;;
      *) echo "OVN's central, $central, does not answer: ${found##*"$newline"}" >&2 ;;
    esac
    return 1
  }
  # shellcheck disable=SC2086
  set -- $found
  [ "$#" -gt "$count" ] || { echo "OVN does not know this worker, $own: fab ovn.setup" >&2; return 1; }
  mine=$1 beside=''
  shift
  for port in $ports; do
    chassis=$1
    shift
    case $chassis in "[]" | "$mine") continue ;; esac
    case $(southbound get Port_Binding "$port" \
      requested_additional_chassis 2>/dev/null) in
      *"$mine"*) beside="$beside $port"; continue ;;
    esac
    name=$(southbound get Chassis "$chassis" name)
    name=${name#\"}
    echo "OVN has port $port for the worker ${name%\"}, and not for this one: fab net.up moves it" >&2
    return 1
  done
}

is_up() {
  flags=0
  read -r flags <"/sys/class/net/$1/flags" && [ $((flags & 1)) = 1 ]
}

# It does not wait for the switch, whose device goes next.
#: # remove the ports of {1} that are its own: {2...}
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
