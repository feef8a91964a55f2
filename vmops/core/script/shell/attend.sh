# shellcheck shell=sh disable=SC2034,SC2154
#
# What goes on after the script that starts it, for one caller who comes through a socket, and ends with
# him.

# The socket, the TAP, how many frames, and a filter.
#: # with perl, for who comes to {1}: sudo tcpdump -n -U -w - -i {3}, ended when he has gone
capture_frames() {
  perl /proc/self/fd/3 "$@" 3<<'CAPTURE_PL'
@attend.pl@
@capture.pl@
CAPTURE_PL
}
