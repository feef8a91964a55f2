# shellcheck shell=sh disable=SC2154
#
# Its program comes on a descriptor of its own, as that of the monitors.
talk_to_agents() {
  perl /proc/self/fd/3 "$RUN_ROOT" "$AGENT_BYTES" 3<<'AGENT_PL'
@agent.pl@
AGENT_PL
}
