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
