"""Who is at a UNIX socket, from real answers of the kernel and of ss."""

from __future__ import annotations

import pytest

from vmops.core.tools.sockets import Callers, Holder, read_count, read_who

PATH = "/run/vmops/vm1/console.sock"
LISTENS = f"000000001b3c0e49: 00000002 00000000 00010000 0001 01 926171 {PATH}\n"
SERVED = f"00000000a3088ab6: 00000003 00000000 00000000 0001 03 938710 {PATH}\n"
WAITS = f"00000000bf31c17d: 00000003 00000000 00000000 0001 02     0 {PATH}\n"
OTHER = SERVED.replace("vm1", "vm10") + SERVED.replace("console.sock", "console.sock2")


@pytest.mark.parametrize(
    ("text", "callers"),
    [
        ("", Callers(0, 0)),
        (LISTENS + OTHER, Callers(0, 0)),
        (LISTENS + SERVED, Callers(1, 0)),
        (LISTENS + WAITS + WAITS + SERVED, Callers(1, 2)),
    ],
    ids=["nobody listens", "free", "served", "served, and two that wait"],
)
def test_callers_are_counted(text: str, callers: Callers) -> None:
    assert read_count(text, PATH) == callers


SS = f"""
u_str LISTEN 0 1 {PATH} 926171 * 0 users:(("qemu-system-x86",pid=58,fd=12))
u_str ESTAB  0 0 {PATH} 938710 * 940000 users:(("qemu-system-x86",pid=58,fd=18))
u_str ESTAB  0 0 /run/vmops/vm10/console.sock 938810 * 940100 users:(("qemu",pid=59,fd=18))
u_str ESTAB  0 0 * 940100 * 938810 users:(("sshd",pid=98,fd=7))
u_str ESTAB  0 0 * 939994 * 0 users:(("sshd",pid=97,fd=8),("sshd",pid=95,fd=8))
u_str ESTAB  0 0 * 940000 * 938710 users:(("{{name}}",pid=97,fd=7))
ESTAB 0 0 [2001:db8::1]:22 {{peer}}:37912 users:(("sshd",pid=97,fd=4),("sshd",pid=95,fd=4))
ESTAB 0 0 127.0.0.1:37912 127.0.0.1:22
"""


@pytest.mark.parametrize(
    ("name", "peer", "words"),
    [
        ("sshd", "192.0.2.7", "sshd, PID 97, from 192.0.2.7"),
        ("sshd", "[2001:db8::7]", "sshd, PID 97, from 2001:db8::7"),
        ("tmux: server", "192.0.2.7", "tmux: server, PID 97, from 192.0.2.7"),
    ],
)
def test_the_one_at_the_other_end_is_found(name: str, peer: str, words: str) -> None:
    (holder,) = read_who(SS.format(name=name, peer=peer), PATH)
    assert str(holder) == words
    assert (holder.pid, holder.fd, holder.inode) == (97, 7, 940000)


def test_a_kernel_that_tells_no_peers_names_nobody() -> None:
    assert read_who(SS.replace("* 940000", "* 0"), PATH) == ()
    assert str(Holder("socat", 1, 2, 3)) == "socat, PID 1"
