# shellcheck shell=sh disable=SC2034,SC2154
#
# What a network node does for networks. Each has a folder in NET_ROOT, root's, and a namespace of its
# own, in which alone the kernel routes. Everything can be done again over what is there.

# A command in the namespace of a network.
inside() {
  space=vmops-$1
  shift
  nsenter --net="/run/netns/$space" "$@"
}

#: # see which of {1...} are there
network_tools() {
  for tool in "$@"; do command -v "$tool" >/dev/null || echo "$tool"; done
}

#: # of each device, read mtu in /sys/class/net
network_devices() {
  for device in /sys/class/net/*; do
    mtu=
    { read -r mtu <"$device/mtu"; } 2>/dev/null
    [ -z "$mtu" ] || echo "${device##*/} $mtu"
  done
}

# The port of the bridge is one end of a pair, and not an internal port of the switch: the namespace
# keeps it when ovs-vswitchd starts anew, whichever datapath it has. What is sent into it has whole
# checksums then, as nothing behind it completes them.
#: sudo mkdir -p $NET_ROOT/{1}; sudo ip netns add vmops-{1}
#: sudo ip link add vml{2} type veth peer name lan netns vmops-{1}
#: sudo ovs-vsctl --timeout=$SWITCH_LIMIT_S -- add-port {3} vml{2} tag={4} -- set Interface vml{2} external_ids:vmops-net={1}
#: sudo ip -n vmops-{1} addr add {5} dev lan; sudo ip -n vmops-{1} link set lan up
make_network() {
  make_run_root "$NET_ROOT" || return 1
  [ -d "$NET_ROOT/$1" ] || mkdir -m 0755 "$NET_ROOT/$1" || return 1
  echo "$2" >"$NET_ROOT/$1/short"
  inside "$1" true 2>/dev/null || {
    hush_network "$1" || return 1
    ip netns del "vmops-$1" 2>/dev/null
    ip netns add "vmops-$1" || return 1
  }
  # shellcheck disable=SC2016 # for the shell in there
  inside "$1" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward || exit
    for key in /proc/sys/net/ipv6/conf/all/disable_ipv6 /proc/sys/net/ipv6/conf/default/disable_ipv6; do
      [ ! -e "$key" ] || echo 1 >"$key"
    done' || return 1
  ip -n "vmops-$1" link set lo up || return 1
  if [ ! -e "/sys/class/net/vml$2" ] || ! ip -n "vmops-$1" link show lan >/dev/null 2>&1; then
    vsctl -- --if-exists del-port "vml$2" || return 1
    ip link del "vml$2" 2>/dev/null
    ip link add "vml$2" type veth peer name lan netns "vmops-$1" || return 1
  fi
  mtu=1500
  { read -r mtu <"/sys/class/net/$3/mtu"; } 2>/dev/null
  [ "${6:-0}" -le "$mtu" ] || {
    echo "frames of $6 bytes do not pass the bridge $3: its MTU is $mtu" >&2; return 1; }
  ip link set dev "vml$2" alias "vmops-net:$1" mtu "$mtu" || return 1
  keep_ip_off "vml$2" || return 1
  vsctl -- --may-exist add-port "$3" "vml$2" -- set Port "vml$2" "tag=$4" 'trunks=[]' 'vlan_mode=[]' \
    -- set Interface "vml$2" "external_ids:vmops-net=$1" ||
    vsctl -- --if-exists del-port "vml$2" -- add-port "$3" "vml$2" "tag=$4" \
      -- set Interface "vml$2" "external_ids:vmops-net=$1" || return 1
  ip link set dev "vml$2" up || return 1
  # shellcheck disable=SC2016
  inside "$1" perl -e 'socket my $any, 2, 2, 0 or die; my $off = pack "II", 0x17, 0;
    ioctl $any, 0x8946, pack "a16P", "lan", $off or die "lan: $!\n"' || return 1
  ip -n "vmops-$1" link set dev lan mtu "${6:-$mtu}" up || return 1
  has_address "$1" lan "$5" || return 1
  port=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" get Interface "vml$2" ofport) || return 1
  [ "$port" -gt 0 ] 2>/dev/null || {
    echo "the switch could not take port vml$2 (ofport $port)" >&2; return 1; }
}

# Only ever one, and no flush where it is there already: that would take its routes along.
has_address() {
  case $(ip -n "vmops-$1" -4 -o addr show dev "$2") in
    *" $3 "*) return 0 ;;
  esac
  ip -n "vmops-$1" addr flush dev "$2" && ip -n "vmops-$1" addr add "$3" dev "$2"
}

# As for TAPs: the node's own IP has no part in it.
keep_ip_off() {
  set_ip ipv6 "$1" disable_ipv6 1 && set_ip ipv6 "$1" accept_ra 0 && set_ip ipv6 "$1" addr_gen_mode 1 &&
    set_ip ipv4 "$1" arp_ignore 8 && set_ip ipv4 "$1" rp_filter 1
}

#: sudo nsenter --net=/run/netns/vmops-{1} nft -f -
load_rules() {
  inside "$1" nft -f -
}

#: sudo nft -f -
load_node_rules() {
  nft -f -
}

# Way out: a pair to the node, which forwards what comes from it, and nothing else.
#: sudo ip link add vmu{2} type veth peer name up netns vmops-{1}
#: sudo ip addr replace {4}/30 dev vmu{2}; sudo ip link set vmu{2} up
#: sudo ip -n vmops-{1} addr replace {5}/30 dev up; sudo ip -n vmops-{1} link set up up
#: sudo ip -n vmops-{1} route replace default via {4}
#: sudo sh -c 'echo 1 >/proc/sys/net/ipv4/conf/vmu{2}/forwarding'
make_way_out() {
  [ -e "/sys/class/net/$3" ] || {
    echo "there is no device $3 to go out by: set uplink in hosts.toml" >&2; return 1; }
  if [ ! -e "/sys/class/net/vmu$2" ] || ! ip -n "vmops-$1" link show up >/dev/null 2>&1; then
    ip link del "vmu$2" 2>/dev/null
    ip link add "vmu$2" type veth peer name up netns "vmops-$1" || return 1
  fi
  echo "$3" >"$NET_ROOT/$1/uplink"
  ip link set dev "vmu$2" alias "vmops-net:$1" up && set_ip ipv6 "vmu$2" disable_ipv6 1 &&
    ip addr replace "$4/30" dev "vmu$2" &&
    set_ip ipv4 "vmu$2" forwarding 1 &&
    ip -n "vmops-$1" link set dev up up && has_address "$1" up "$5/30" &&
    ip -n "vmops-$1" route replace default via "$4"
}

# The uplink of a node that forwards nothing yet. What it was is written down, for the last network.
#: # where it is 0: sudo sh -c 'echo 1 >/proc/sys/net/ipv4/conf/{1}/forwarding', and before that
#: sudo nft -f -
open_uplink() {
  read -r was <"/proc/sys/net/ipv4/conf/$1/forwarding"
  [ "$was" = 0 ] || [ -f "$NET_ROOT/.uplink.$1" ] || return 0
  nft -f - && echo "$2" >"$NET_ROOT/.uplink.$1" && echo 1 >"/proc/sys/net/ipv4/conf/$1/forwarding"
}

close_uplinks() {
  for left in /sys/class/net/vmu*; do [ ! -e "$left" ] || return 0; done
  for file in "$NET_ROOT"/.uplink.*; do
    [ -f "$file" ] || continue
    key=/proc/sys/net/ipv4/conf/${file##*/.uplink.}/forwarding
    [ ! -e "$key" ] || echo 0 >"$key"
    read -r table <"$file"
    nft delete table inet "$table" 2>/dev/null
    rm -f "$file"
  done
}

#: sudo ip link del vmu{2}; sudo nft delete table inet vmops_{2}  # where they are there
remove_way_out() {
  rm -f "$NET_ROOT/$1/uplink"
  [ ! -e "/sys/class/net/vmu$2" ] || ip link del "vmu$2"
  ! nft list table inet "vmops_$2" >/dev/null 2>&1 || nft delete table inet "vmops_$2"
  close_uplinks
}

# The namespaces of two networks, joined. Each has the other's gateway as a neighbour: no addresses of
# their own are needed.
#: sudo ip -n vmops-{1} link add to{6} type veth peer name to{2} netns vmops-{5}
#: sudo ip -n vmops-{1} route replace {7} dev to{6}; sudo ip -n vmops-{1} route replace {8} via {7}
#: sudo ip -n vmops-{5} route replace {3} dev to{2}; sudo ip -n vmops-{5} route replace {4} via {3}
link_networks() {
  if ! ip -n "vmops-$1" link show "to$6" >/dev/null 2>&1; then
    ip -n "vmops-$5" link del "to$2" 2>/dev/null
    ip -n "vmops-$1" link add "to$6" type veth peer name "to$2" netns "vmops-$5" || return 1
  fi
  leads_to "$1" "to$6" "$7" "$8" && leads_to "$5" "to$2" "$3" "$4"
}

leads_to() {
  ip -n "vmops-$1" link set dev "$2" up && ip -n "vmops-$1" route flush dev "$2" && ip -n "vmops-$1" route replace "$3/32" dev "$2" &&
    ip -n "vmops-$1" route replace "$4" via "$3" dev "$2"
}

#: # remove what leads from vmops-{1} to other networks than these: {2...}
keep_links() {
  network=$1
  shift
  for device in $(link_names "$network"); do
    case " $* " in *" $device "*) ;; *) ip -n "vmops-$network" link del "$device" ;; esac
  done
}

link_names() {
  ip -n "vmops-$1" -o link | while IFS=': ' read -r number device rest; do
    case $device in to*) echo "${device%%@*}" ;; esac
  done
}

# Files that dnsmasq reads when it is nobody's any more.
#: sudo tee $NET_ROOT/{1}/{2} >/dev/null
write_network_file() {
  cat >"$NET_ROOT/$1/$2.new" && chmod 0644 "$NET_ROOT/$1/$2.new"
}

# In the namespace that has the name now: one that somebody has removed lives on while it runs there.
talks() {
  # shellcheck disable=SC3013 # every sh of Debian and Ubuntu knows -ef
  is_dnsmasq_of "$1" && [ "/proc/$pid/ns/net" -ef "/run/netns/vmops-$1" ]
}

is_dnsmasq_of() {
  pid='' since=''
  { read -r pid since <"$NET_ROOT/$1/process"; } 2>/dev/null
  [ -n "$pid" ] && still "$pid" "$since" &&
    grep -qzxFe "--conf-file=$NET_ROOT/$1/dnsmasq.conf" "/proc/$pid/cmdline" 2>/dev/null
}

# It starts anew where something has changed: its leases stay, as they are in a file.
#: sudo nsenter --net=/run/netns/vmops-{1} dnsmasq --conf-file=$NET_ROOT/{1}/dnsmasq.conf
serve_network() {
  folder=$NET_ROOT/$1
  resolv=/run/systemd/resolve/resolv.conf
  [ -e "$resolv" ] || resolv=/etc/resolv.conf
  { cat "$resolv" 2>/dev/null || true; } | write_network_file "$1" resolv.conf
  changed=
  for file in dnsmasq.conf hosts dhcp resolv.conf; do
    [ "$(cat "$folder/$file" 2>/dev/null)" = "$(cat "$folder/$file.new")" ] || changed=1
  done
  [ -n "$changed" ] || ! talks "$1" || { rm -f "$folder"/*.new; return 0; }
  hush_network "$1" || return 1
  [ ! -f "$folder/leases" ] || current_leases "$folder" >"$folder/leases.new" || return 1
  for file in "$folder"/*.new; do mv -f "$file" "${file%.new}" || return 1; done
  [ ! -f "$folder/leases" ] || chmod 0644 "$folder/leases"
  inside "$1" dnsmasq --conf-file="$folder/dnsmasq.conf" --pid-file="$folder/pid" || return 1
  read -r pid <"$folder/pid" && start_of "$pid" && echo "$pid $started" >"$folder/process" &&
    rm -f "$folder/pid" && talks "$1" && return
  echo "dnsmasq ended as soon as it had started" >&2
  return 1
}

# A MAC that was a VM's and is none any more, and an address that is another MAC's by now.
current_leases() {
  while read -r until mac address rest; do
    if grep -qiF "$mac,$address," "$1/dhcp.new"; then :
    elif grep -qiF "$mac," "$1/dhcp.new" "$1/dhcp" || grep -qF ",$address," "$1/dhcp.new"; then continue
    fi
    echo "$until $mac $address $rest"
  done <"$1/leases"
}

#: # end the dnsmasq of {1}, by the PID and start time in $NET_ROOT/{1}/process
hush_network() {
  is_dnsmasq_of "$1" || return 0
  kill "$pid" && await_end "$pid" "$since" 3 2>/dev/null || {
    kill -s KILL "$pid" && await_end "$pid" "$since" 3; } || return 1
  rm -f "$NET_ROOT/$1/process"
}

#: # end its dnsmasq; sudo ovs-vsctl --if-exists del-port vml{2}
#: sudo ip link del vml{2}; sudo ip link del vmu{2}; sudo nft delete table inet vmops_{2}
#: sudo ip netns del vmops-{1}; sudo rm -rf $NET_ROOT/{1}
remove_network() {
  hush_network "$1" || return 1
  remove_way_out "$1" "$2"
  ovs-vsctl --timeout="$SWITCH_LIMIT_S" --no-wait --if-exists del-port "vml$2" || return 1
  [ ! -e "/sys/class/net/vml$2" ] || ip link del "vml$2"
  [ ! -e "/run/netns/vmops-$1" ] || ip netns del "vmops-$1" || return 1
  rm -rf --one-file-system "${NET_ROOT:?}/$1"
}

# How it is now, in two sums: addresses and routes, and rules. `-s` leaves counters out.
picture_of() {
  read -r short <"$NET_ROOT/$1/short"
  set -- "$1" "$short" "$({ ip -n "vmops-$1" -4 -o addr; ip -n "vmops-$1" route
    inside "$1" cat /proc/sys/net/ipv4/ip_forward
    outside_of "$1" addresses; } 2>&1 | sha256sum)" \
    "$({ inside "$1" nft -s list ruleset
    outside_of "$1" rules; } 2>&1 | sha256sum)"
  echo "${3%% *} ${4%% *}"
}

# What is of the node itself, for a network with a way out.
outside_of() {
  uplink=
  { read -r uplink <"$NET_ROOT/$1/uplink"; } 2>/dev/null
  [ -n "$uplink" ] || return 0
  if [ "$2" = addresses ]; then
    ip -4 -o addr show dev "vmu$short"
    cat "/proc/sys/net/ipv4/conf/vmu$short/forwarding" "/proc/sys/net/ipv4/conf/$uplink/forwarding"
    return
  fi
  nft -s list table inet "vmops_$short"
  [ ! -f "$NET_ROOT/.uplink.$uplink" ] || {
    read -r table <"$NET_ROOT/.uplink.$uplink"
    nft -s list table inet "$table"
  }
}

#: # write down in $NET_ROOT/{1} what was asked, and how it is now
note_network() {
  cat >"$NET_ROOT/$1/spec" && picture_of "$1" >"$NET_ROOT/$1/made"
}

#: # write down how {1*} is now
note_picture() {
  for network in "$@"; do picture_of "$network" >"$NET_ROOT/$network/made"; done
}

# For each: what was asked, the sums of what was made, those of now, and whether dnsmasq runs.
#: # of each network in $NET_ROOT: read what was asked; ip addr, ip route and nft list ruleset in its namespace
network_facts() {
  asked_of_all
  for folder in "$NET_ROOT"/*/; do
    [ -d "$folder" ] || continue
    name=${folder%/} name=${name##*/}
    part "$name"
    for file in spec made; do
      line=
      { read -r line <"$folder/$file"; } 2>/dev/null
      echo "$line"
    done
    picture_of "$name"
    if talks "$name"; then echo "talks $pid"; else echo silent; fi
  done
}

# A guard: what was asked of all of them is what was seen.
#: # see that the networks there are as they were
same_networks() {
  [ "$(asked_of_all)" = "$1" ]
}

asked_of_all() {
  sum=$(for folder in "$NET_ROOT"/*/; do
    [ ! -f "$folder/spec" ] || { echo "$folder"; cat "$folder/spec"; }
  done | sha256sum)
  echo "${sum%% *}"
}

#: # of each network in $NET_ROOT: cat leases; nft list counters in its namespace
network_counts() {
  for folder in "$NET_ROOT"/*/; do
    [ -d "$folder" ] || continue
    name=${folder%/} name=${name##*/}
    part "$name leases"
    cat "$folder/leases" 2>/dev/null
    part "$name counters"
    inside "$name" nft list counters 2>/dev/null
  done
}
