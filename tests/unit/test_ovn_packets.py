"""Packets into OVN, what a listener says of them, and what ovn-trace says of their way."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.tools.proof import ovn_trace, packet
from vmops.core.tools.proof.ovn_trace import Flow
from vmops.core.tools.proof.packet import ANYBODY, EVERYBODY, From, Heard

MINE = From("tap_1", "52:54:00:00:01:01", "192.168.10.32")
MARK = "0e:76:12:34:00:07"


def total(data: bytes) -> int:
    found = sum(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
    while found >> 16:
        found = (found & 0xFFFF) + (found >> 16)
    return found


@pytest.mark.parametrize("kind", [packet.to, packet.echo])
def test_a_packet_is_its_guests_own_and_has_its_mark(kind: object) -> None:
    made = (packet.to if kind is packet.to else packet.echo)(
        MINE, MARK, "52:54:00:00:02:01", "192.168.10.27"
    )
    frame = made.frame
    assert (made.port, made.mark) == ("tap_1", MARK)
    assert frame[:14] == bytes.fromhex("525400000201" + "525400000101" + "0800")
    assert IPv4Address(frame[26:30]) == IPv4Address("192.168.10.32")
    assert IPv4Address(frame[30:34]) == IPv4Address("192.168.10.27")
    assert len(frame) == 14 + int.from_bytes(frame[16:18])
    assert total(frame[14:34]) == 0xFFFF
    assert total(frame[34:]) == 0xFFFF
    assert frame[34] == (0 if kind is packet.to else 8), "an answer that no guest answers"
    assert frame[42:48] == bytes.fromhex("0e7612340007")
    other = packet.echo(MINE, "0e:76:12:34:00:08", "52:54:00:00:02:01", "192.168.10.27").frame
    assert frame[38:40] != other[38:40], "a translation keeps them apart by that"


def test_to_all_of_a_network() -> None:
    frame = packet.to(MINE._replace(address=""), MARK, EVERYBODY, ANYBODY).frame
    assert frame[:6] == b"\xff" * 6
    assert frame[26:34] == b"\0" * 4 + b"\xff" * 4


def test_who_would_give_a_lease() -> None:
    frame = packet.discover(MINE, MARK).frame
    assert frame[26:30] == b"\0" * 4, "from nobody yet, as a guest does"
    assert (frame[34:36], frame[36:38]) == (b"\x00\x44", b"\x00\x43")
    assert frame[46:52] == bytes.fromhex("0e7612340007"), "what comes back in an offer"
    assert frame[70:76] == bytes.fromhex("525400000101")
    assert bytes.fromhex("63825363350101") in frame


def test_a_question_for_a_name_has_its_mark_where_ovn_leaves_it() -> None:
    frame = packet.query(MINE, MARK, "0a:00:00:00:00:01", "192.168.10.1", "web-1").frame
    assert frame[14] == 0x47, "eight bytes of options"
    assert total(frame[14:42]) == 0xFFFF
    assert frame[36:42] == bytes.fromhex("0e7612340007")
    assert int.from_bytes(frame[16:18]) == len(frame) - 14
    assert frame[44:46] == b"\0\x35"
    assert frame[62:74] == b"\x05web-1\0\0\1\0\1"[:12]
    assert MARK in {each.mark for each in packet.parse(f"t 0e7612340007 {frame.hex()}").heard}


def answer(*addresses: str) -> bytes:
    """As OVN makes one of a question."""
    asked = packet.query(MINE, MARK, "0a:00:00:00:00:01", "192.168.10.1", "web-1").frame
    frame = bytearray(asked)
    frame[42:46] = frame[44:46] + frame[42:44]
    frame[56:58] = len(addresses).to_bytes(2)
    for address in addresses:
        frame += b"\xc0\x0c\0\1\0\1" + (3600).to_bytes(4) + b"\0\4" + IPv4Address(address).packed
    return bytes(frame)


@pytest.mark.parametrize("addresses", [(), ("10.0.0.2",), ("10.0.0.9", "10.0.0.2")])
def test_the_addresses_that_a_name_is_said_to_have(addresses: tuple[str, ...]) -> None:
    (heard,) = packet.parse(f"tap_1 0e7612340007 {answer(*addresses).hex()}").heard
    assert heard == Heard("tap_1", MARK, named=" ".join(sorted(addresses)))


@given(st.integers(0, 140), st.integers(0, 255), st.integers(0, 140))
def test_an_answer_that_is_cut_or_garbled_is_read_all_the_same(
    at: int, byte: int, end: int
) -> None:
    frame = bytearray(answer("10.0.0.9", "10.0.0.2"))
    frame[at % len(frame)] = byte
    packet.parse(f"tap_1 0e7612340007 {bytes(frame[:end]).hex()}")


def test_what_a_listener_says() -> None:
    came = packet.to(MINE, MARK, EVERYBODY, ANYBODY).frame[:64].hex()
    offer = bytearray(packet.discover(MINE, MARK).frame[:64])
    offer[34:38] = b"\x00\x43\x00\x44"
    offer[58:62] = IPv4Address("192.168.10.32").packed
    text = (
        f"deaf tap_9 its VM is being changed\ntap_2 0e7612340007 {came}\n"
        f"tap_1 0e7612340007 {offer.hex()}\nother words\ntap_3 0e7612340007 xyz\n"
    )
    found = packet.parse(text)
    assert found.deaf == (("tap_9", "its VM is being changed"),)
    assert found.heard == {
        Heard("tap_2", MARK),
        Heard("tap_1", MARK, "192.168.10.32"),
    }


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    packet.parse(text)


TRACE = """# icmp,reg14=0x1

ingress(dp="vmops-blue", inport="b1:eth0")
------------------------------------------
 0. ls_in_check_port_sec (northd.c:8432): 1, priority 50, uuid ae6eb326
    reg0[15] = check_in_port_sec();
    next;
25. ls_in_l2_lkup (northd.c:9193): eth.dst == 0a:16:47:76:88:c0, priority 50, uuid b243e72c
    outport = "vmops:blue:gateway";
    output;

egress(dp="vmops-blue", inport="b1:eth0", outport="vmops:blue:gateway")
-----------------------------------------------------------------------
 9. ls_out_apply_port_sec (northd.c:5777): 1, priority 0, uuid d6c2b334
    output;
    /* output to "vmops:blue:gateway", type "patch" */

ingress(dp="vmops", inport="vmops-blue")
----------------------------------------
15. lr_in_policy (northd.c:9526): ip4.src == 1.2.3.0/24 && 1, priority 100, uuid aa294d2d
    next;

egress(dp="vmops-green", inport="vmops:green:gateway", outport="g2:eth0")
-------------------------------------------------------------------------
 9. ls_out_apply_port_sec (northd.c:5777): 1, priority 0, uuid d6c2b334
    output;
    /* output to "g2:eth0", type "" */
"""


def test_the_way_through_ovn() -> None:
    found = ovn_trace.parse(TRACE)
    assert found.outputs == ("g2:eth0",), "not the patches between switch and router"
    assert [(each.where, each.name) for each in found.stages] == [
        ("vmops-blue", "ls_in_check_port_sec"),
        ("vmops-blue", "ls_in_l2_lkup"),
        ("vmops-blue", "ls_out_apply_port_sec"),
        ("vmops", "lr_in_policy"),
        ("vmops-green", "ls_out_apply_port_sec"),
    ]
    assert found.stages[1].actions[0] == 'outport = "vmops:blue:gateway"'
    assert found.stages[3].match == "ip4.src == 1.2.3.0/24 && 1"
    assert not any(each.drops for each in found.stages)
    dropped = ovn_trace.parse(TRACE.replace("    next;\n\negress", "    drop;\n\negress"))
    assert dropped.stages[3].drops


def test_what_is_no_trace() -> None:
    with pytest.raises(ValueError, match="no way"):
        ovn_trace.parse("ovn-trace: unknown port\n")


def test_what_is_asked_of_ovn() -> None:
    flow = Flow("b1:eth0", ("52:54:00:00:01:01", "52:54:00:00:02:01"), ("10.0.0.1", "10.0.0.2"))
    (_, words) = ovn_trace.trace(flow).words()
    assert words.startswith('inport == "b1:eth0" && eth.src == 52:54:00:00:01:01 && ')
    assert words.endswith("ip4.dst == 10.0.0.2 && ip.ttl == 64 && icmp4.type == 8")
    (_, words) = ovn_trace.trace(flow._replace(more="tcp.dst == 22")).words()
    assert words.endswith(" && tcp.dst == 22")
    (_, words) = ovn_trace.trace(flow._replace(addresses=("", ""))).words()
    assert "ip4" not in words
