# shellcheck shell=sh disable=SC2154
#
# Frames that tell who reaches whom. Nothing is asked of a switch that is dead: it would be waited for.

# Pairs of a port and a frame in hex. All go in one bundle, and through the flows of the bridge; where
# that is refused (it needs OpenFlow 1.4) one by one, with whatever versions the bridge is set to.
#: # for each PORT and FRAME of {2...}:
#: sudo ovs-ofctl packet-out {1} "in_port=PORT packet=FRAME actions=resubmit(,0)"
send_probes() {
  [ -z "$(switch_facts)" ] || return 0
  bridge=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" br-to-parent "$1") || return
  there=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" list-ports "$bridge") || return
  shift
  newline='
'
  lines=
  while [ "$#" -gt 0 ]; do
    case "$newline$there$newline" in
      *"$newline$1$newline"*) lines="${lines}in_port=\"$1\" packet=$2 actions=resubmit(,0)$newline" ;;
      *) echo "refused $1 it is no port of $bridge" ;;
    esac
    shift 2
  done
  [ -n "$lines" ] || return 0
  printf %s "$lines" | sed 's/^/packet-out /; s/ packet=/,packet=/; s/ actions=/,actions=/' |
    ovs-ofctl --timeout="$SWITCH_LIMIT_S" -O OpenFlow14 bundle "$bridge" - 2>/dev/null || send_one_by_one
}

send_one_by_one() {
  printf %s "$lines" | while read -r frame; do
    said=$(ovs-ofctl --timeout=5 -O OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15 \
      packet-out "$bridge" "$frame" 2>&1) && continue
    [ "$?" != 142 ] || { echo "the switch does not take a frame within 5 s" >&2; return 142; }
    port=${frame#*\"}
    echo "refused ${port%%\"*} $(echo "$said" | tail -n 1)"
  done
}

#: sudo ovs-appctl fdb/show {1}  # those that begin with {2}
learned_probes() {
  [ -z "$(switch_facts)" ] || return 0
  bridge=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" br-to-parent "$1") || return
  table=$(ovs-appctl --timeout=5 fdb/show "$bridge") || return
  echo "$table" | grep -F " $2:" || true
}

# Ports by their names, in what is asked and in what is answered. Of what is refused the reason is told,
# and not that it was.
#: sudo ovs-appctl ofproto/trace {1} {2} --names
trace_frame() {
  why=$(switch_facts)
  [ -z "$why" ] || { echo "ovs-vswitchd is $why" >&2; return 1; }
  bridge=$(ovs-vsctl --timeout="$SWITCH_LIMIT_S" br-to-parent "$1") || return
  said=$(ovs-appctl --timeout=5 ofproto/trace "$bridge" "$2" --names 2>&1) || {
    code=$?
    echo "$said" | grep -v 'server returned an error' >&2
    return "$code"
  }
  echo "$said"
}
