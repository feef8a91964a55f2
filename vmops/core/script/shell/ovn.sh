# shellcheck shell=sh disable=SC2154
#
# OVN: what its central has of ours, and what a worker needs to follow it.

# Rows that carry our mark, and no other: a central may be somebody else's too.
our_rows() {
  ovn-nbctl --timeout="$SWITCH_LIMIT_S" "$1" \
    --columns="_uuid,external_ids,name,ports,acls,dns_records" find Logical_Switch 'external_ids:vmops-net!=""' \
    -- --columns="_uuid,external_ids,name,type,tag,addresses,port_security,options,dhcpv4_options$2" \
    find Logical_Switch_Port 'external_ids:vmops-net!=""' \
    -- --columns="_uuid,external_ids,cidr,options" find DHCP_Options 'external_ids:vmops-net!=""' \
    -- --columns="_uuid,external_ids,name,ports,policies,nat,static_routes,load_balancer" \
    find Logical_Router 'external_ids:vmops-net!=""' \
    -- --columns="_uuid,external_ids,name,mac,networks,gateway_chassis" find Logical_Router_Port 'external_ids:vmops-net!=""' \
    -- --columns="_uuid,external_ids,priority,match,action" find Logical_Router_Policy 'external_ids:vmops-net!=""' \
    -- --columns="_uuid,external_ids,type,external_ip,logical_ip" find NAT 'external_ids:vmops-net!=""' \
    -- --columns="_uuid,external_ids,ip_prefix,nexthop" find Logical_Router_Static_Route 'external_ids:vmops-net!=""' \
    -- --columns="_uuid,external_ids,name,chassis_name,priority" find Gateway_Chassis 'external_ids:vmops-net!=""' \
    -- --columns="_uuid,external_ids,priority,direction,match,action" find ACL 'external_ids:vmops-net!=""' \
    -- --columns="_uuid,external_ids,name,protocol,vips" find Load_Balancer 'external_ids:vmops-net!=""' \
    -- --columns="_uuid,external_ids,records" find DNS 'external_ids:vmops-net!=""'
}

# Rows come in any order. Whether a port is up changes with every guest, and is no part of the sum.
sum_of_rows() {
  rows=$(our_rows --format=csv) || return 1
  echo "$rows" | sort | sha256sum
}

#: # where OVN's central is: sudo ovn-nbctl find, each kind of row that carries the mark vmops-net
#: sudo ovn-sbctl list Encap
central_facts() {
  part sum
  sum_of_rows || return 1
  part north
  our_rows --format=json ,up || return 1
  part south
  ovn-sbctl --timeout="$SWITCH_LIMIT_S" --format=json --columns=ip,chassis_name list Encap
}

# Before 22.09 a port was at one worker, and a port for two was for none.
#: sudo ovn-sbctl --columns=requested_additional_chassis find Port_Binding logical_port=none
two_places() {
  said=$(ovn-sbctl --timeout="$SWITCH_LIMIT_S" --columns=requested_additional_chassis \
    find Port_Binding logical_port=none 2>&1) && { echo yes; return 0; }
  case $said in *requested_additional_chassis*) echo no ;; *) echo "$said" >&2; return 1 ;; esac
}

# A guard: the rows of ours are those that were seen.
#: # see that the rows of OVN that carry the mark vmops-net are as they were
same_rows() {
  sum=$(sum_of_rows)
  [ "${sum%% *}" = "$1" ]
}

# Of a worker that is to follow a central, and of the one that has it: what is lacking there, and how it is set.
#: # see which of {3...} are there; sudo ovs-vsctl list Open_vSwitch
#: sudo ovn-appctl -t ovn-controller connection-status
ovn_host_facts() {
  bridge=$1 device=$2
  shift 2
  part missing
  network_tools "$@"
  part settings
  ovs-vsctl --timeout="$SWITCH_LIMIT_S" --format=json --columns=external_ids list Open_vSwitch || return 1
  part datapath
  ovs-vsctl --timeout="$SWITCH_LIMIT_S" --if-exists get Bridge "$bridge" datapath_type || return 1
  part state
  ovn_state
  part listens
  [ ! -S /run/ovn/ovnsb_db.sock ] || ovn-sbctl --timeout="$SWITCH_LIMIT_S" get-connection
  part keys
  said=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" get-ssl) || return 1
  [ -z "$said" ] || echo switch
  if [ -S /run/ovn/ovnsb_db.sock ]; then
    said=$(ovn-sbctl --timeout="$SWITCH_LIMIT_S" get-ssl) || return 1
    [ -z "$said" ] || echo central
  fi
  part outside
  [ -z "$device" ] || way_out_of_gateway "$device"
}

# A bridge of Open vSwitch; or a device, the bridge that it is a port of or -, and its addresses but for link-local ones.
way_out_of_gateway() {
  if ovs-vsctl --timeout="$SWITCH_LIMIT_S" br-exists "$1"; then
    echo "$1 bridge"
  elif [ -d "/sys/class/net/$1" ]; then
    port_of=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" iface-to-br "$1" 2>/dev/null) || port_of=-
    found=$(ip -o address show dev "$1" scope global) || return 1
    echo "$1 device $port_of"
    echo "$found" | while read -r _ _ _ address _; do echo "$address"; done
  else
    echo "$1 missing"
  fi
}

# A controller that had no central before tries again after a second, then after two, four and eight.
#: # wait until ovn-controller is connected
await_central() {
  tries=0
  until [ -z "$(ovn_state)" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 75 ] || { said=$(ovn_state); echo "ovn-controller: ${said#ovn }" >&2; return 1; }
    sleep 0.2
  done
}

# In what OVN's central says at which addresses it listens, others may stand already. Those after the first end: of one
# address and port there is one listener, by TLS or for everybody.
#: sudo ovn-sbctl -- --id=@c create Connection target='"{1}"' -- add SB_Global . connections @c
#: # and no more at {2...}
listen_for_workers() {
  target=$1
  shift
  for old in "$@"; do
    rows=$(ovn-sbctl --timeout="$SWITCH_LIMIT_S" --bare --columns=_uuid find Connection "target=\"$old\"") || return 1
    shift
    for row in $rows; do set -- "$@" -- remove SB_Global . connections "$row"; done
  done
  ovn-sbctl --timeout="$SWITCH_LIMIT_S" "$@" -- --id=@c create Connection "target=\"$target\"" \
    -- add SB_Global . connections @c
}
