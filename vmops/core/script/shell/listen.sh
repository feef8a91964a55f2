# shellcheck shell=sh disable=SC2154
#
# What TAPs give out to their guests, heard in the background while probes are sent.

# The file, the mark of the run, for how many seconds; then each TAP with its VM or an empty word.
#: # with perl, for {3} s at most: of each TAP of {4...} hear the frames of this run, and note them in {1}
listen_at_taps() {
  make_run_root "$RUN_ROOT" && make_run_root "$RUN_ROOT/.lock" || return 1
  perl /proc/self/fd/3 "$@" 3<<'LISTEN_PL'
@listen.pl@
LISTEN_PL
}

#: sudo cat {1}
heard_at_taps() {
  cat "$1"
}

#: sudo rm -f {1}
hang_up() {
  rm -f -- "$1"
}

# Where OVN has bound the ports of guests, and how far each chassis has followed.
#: # where OVN's central is: sudo ovn-sbctl find Port_Binding 'type=""'
#: sudo ovn-sbctl -- list Chassis -- list Chassis_Private -- list SB_Global
binding_facts() {
  ovn-sbctl --timeout="$SWITCH_LIMIT_S" --format=json \
    --columns=logical_port,chassis,up find Port_Binding 'type=""' \
    -- --columns=_uuid,name list Chassis \
    -- --columns=name,nb_cfg list Chassis_Private -- --columns=nb_cfg list SB_Global
}

#: # where OVN's central is: sudo ovn-trace '{1}'
trace_in_ovn() {
  ovn-trace --no-leader-only "$1"
}
