# shellcheck shell=sh disable=SC2154
#
# What a network lets its guests do, tried on its node.

# The mark of the run, how long answers are waited for, the networks and what is to be tried: see
# guests.pl.
#: # with perl, by the node's own end of each network's pair: echoes and questions of a guest that is none,
#: # and where they come out: {3...}
try_as_guests() {
  perl /proc/self/fd/3 "$@" 3<<'GUESTS_PL'
@guests.pl@
GUESTS_PL
}

# Networks, each with the addresses that are asked from its namespace and `--` behind them. All at once.
#: # for each NETWORK and its addresses in {1...}: in the namespace vmops-NETWORK, with perl, echoes to them
ask_guests() {
  while [ "$#" -gt 0 ]; do
    network=$1 addresses=
    shift
    while [ "$1" != -- ]; do addresses="$addresses $1"; shift; done
    shift
    # shellcheck disable=SC2086 # a list of addresses
    echoes_of "$network" $addresses &
  done
  wait
}

# Of one whose namespace is not there it says nothing but that.
echoes_of() {
  inside "$1" true 2>/dev/null || { echo "gone $1"; return; }
  network=$1
  shift
  inside "$network" perl /proc/self/fd/3 "$@" 3<<'ECHOES_PL' | sed "s/^/$network /"
@echoes.pl@
ECHOES_PL
}
