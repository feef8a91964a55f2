"""The way of a frame: what `ofproto/trace` prints, and the story that is made of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.plan.proof import story
from vmops.core.plan.proof.ends import End
from vmops.core.plan.proof.judge import judge
from vmops.core.plan.proof.story import Found, Story
from vmops.core.tools import ovs
from vmops.core.tools.proof import trace
from vmops.core.tools.proof.trace import Frame, Output, Step, Traced

from .bridged import World, three

FLOODED = """\
Flow: in_port="tap_1_eth0",vlan_tci=0x0000,dl_src=52:54:00:00:01:01,dl_dst=52:54:00:00:03:01

bridge("br-int")
----------------
 0. in_port="tap_1_eth0", priority 7
    resubmit(,5)
 5. priority 32768
    load:0x5->NXM_NX_REG0[]
    NORMAL
     -> no learned MAC for destination, flooding

Final flow: reg0=0x5,in_port="tap_1_eth0"
Megaflow: recirc_id=0,eth,in_port="tap_1_eth0",dl_src=52:54:00:00:01:01
Datapath actions: push_vlan(vid=101,pcp=0),trunk,br-int,pop_vlan,"tap_6_eth1"
"""

DROPPED = """\
bridge("br-int")
----------------
 0. arp,in_port="tap_1_eth0", priority 32768
    drop

Final flow: unchanged
Megaflow: recirc_id=0,eth,arp,in_port="tap_1_eth0"
Datapath actions: drop
"""


def test_flows_and_ports_are_read() -> None:
    note = "no learned MAC for destination, flooding"
    assert trace.parse(FLOODED) == Traced(
        steps=(
            Step(0, 'in_port="tap_1_eth0", priority 7', ("resubmit(,5)",)),
            Step(5, "priority 32768", ("load:0x5->NXM_NX_REG0[]", "NORMAL"), (note,)),
        ),
        outputs=(Output("trunk", 101), Output("br-int", 101), Output("tap_6_eth1", None)),
    )


def test_a_frame_that_is_dropped_comes_out_nowhere() -> None:
    found = trace.parse(DROPPED)
    assert found.outputs == ()
    assert found.steps[0].actions == ("drop",)


@pytest.mark.parametrize(
    ("actions", "wanted"),
    [
        ("ct(commit,zone=1,nat(src=10.0.0.1)),recirc(0x1)", ()),
        ("tap_1", (Output("tap_1", None),)),
        (
            "pop_vlan,tap_1,push_vlan(vid=7,pcp=0),trunk",
            (Output("tap_1", None), Output("trunk", 7)),
        ),
    ],
)
def test_actions_with_brackets(actions: str, wanted: tuple[Output, ...]) -> None:
    assert trace.parse(f"Datapath actions: {actions}\n").outputs == wanted


def test_what_is_no_trace_is_refused() -> None:
    with pytest.raises(ValueError, match="no datapath actions"):
        trace.parse("Bad openflow flow syntax\n")


@given(st.text())
def test_any_text_can_be_read_or_refused(text: str) -> None:
    try:
        trace.parse(text)
    except ValueError:
        return
    trace.parse(f"{text}\nDatapath actions: {text}")


def test_the_frame_in_the_words_of_open_vswitch() -> None:
    frame = Frame("tap_1", "52:54:00:00:01:01", "52:54:00:00:02:01", 101, "tcp,tp_dst=22")
    assert trace.trace("br-int", frame).words() == (
        "trace_frame",
        "br-int",
        'in_port="tap_1",dl_src=52:54:00:00:01:01,dl_dst=52:54:00:00:02:01,dl_vlan=101,'
        "tcp,tp_dst=22",
    )


def ends_of(world: World, one: str, other: str) -> tuple[End, End]:
    found = {end.name: end for end in world.evidence().ends}
    return found[f"{one}:eth0"], found[f"{other}:eth0"]


def told(world: World, one: str, other: str, near: Traced, far: Traced | None = None) -> Story:
    evidence = world.evidence()
    source, target = ends_of(world, one, other)
    at = story.entry(source, target, evidence)
    return story.tell(source, target, Found(near, at, far), evidence, judge(evidence))


NORMAL = (Step(0, "priority 0", ("NORMAL",)),)
OUT = Traced(NORMAL, (Output("trunk", 101), Output("br-int", 101)))


def test_a_frame_that_arrives_at_another_worker() -> None:
    found = told(three(), "a1", "b1", OUT, Traced(NORMAL, (Output("tap_3_eth0", None),)))
    assert found.error is None
    assert [step.worker for step in found.passages] == ["w1", "w1", "w1", "", "w2", "w2"]
    assert found.passages[-1].text == "port tap_3_eth0 gives it out to b1:eth0"


def test_the_tunnel_of_the_bridge_is_named_and_not_ovns_to_the_same_worker() -> None:
    world = three()
    there = {"remote_ip": "192.0.2.2"}
    mesh = {"vmops-mesh": "w2"}
    tunnels = (("ovn-w2-0", "br-ovn", dict[str, str]()), ("vmx0123456789", "br-int", mesh))
    for name, bridge, marks in tunnels:
        world.ports["w1"][name] = ovs.Port(
            name, bridge, None, external_ids=marks, ofport=9, options=there
        )
    near = Traced(NORMAL, (Output(trace.tunnel_to("192.0.2.2"), 101),))
    found = told(world, "a1", "b1", near, Traced(NORMAL, (Output("tap_3_eth0", None),)))
    texts = "\n".join(step.text for step in found.passages)
    assert "vmx0123456789 (the tunnel to w2)" in texts
    assert "ovn-w2-0" not in texts


@pytest.mark.parametrize(
    ("near", "far", "last"),
    [
        (Traced(NORMAL, ()), None, "it is dropped"),
        (
            Traced(NORMAL, (Output("tap_2_eth0", None),)),
            None,
            "it does not leave the worker: it goes to tap_2_eth0",
        ),
        (OUT, Traced(NORMAL, ()), "it is dropped"),
        (
            OUT,
            Traced(NORMAL, (Output("tap_4_eth0", None),)),
            "it goes to tap_4_eth0, and not to tap_3_eth0",
        ),
    ],
)
def test_where_it_ends(near: Traced, far: Traced | None, last: str) -> None:
    found = told(three(), "a1", "b1", near, far)
    assert found.passages[-1].text == last
    assert not found.passages[-1].ok
    assert found.error is not None
    assert last in found.error.what


def test_a_vlan_that_is_not_carried_between() -> None:
    world = three()
    world.carried = {"w2": {101}}
    found = told(world, "a1", "b1", OUT)
    assert found.passages[-1] == story.Passage("", "it does not come to w2 in VLAN 101", ok=False)
    assert found.error is not None
    assert "the switch between does not carry it, as VLAN 102 passes" in found.error.what
    assert found.error.cure == "allow VLAN 101 on the switch's ports of w2"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "in VLAN 101"),
        ({"tag": 77}, "in VLAN 77"),
        ({"tag": None, "trunks": (77, 101)}, "in VLAN 77, 101"),
        ({"tag": 7, "trunks": (77,), "vlan_mode": "native-untagged"}, "in VLAN 7, 77"),
        ({"tag": None}, "in every VLAN"),
    ],
)
def test_the_first_step_says_what_the_port_has(changes: dict[str, Any], words: str) -> None:
    world = three()
    world.change("w1", "tap_1_eth0", **changes)
    first = told(world, "a1", "b1", OUT, Traced(NORMAL, ())).passages[0]
    assert first.text.endswith(f" sends by port tap_1_eth0 {words}")


def test_two_vlans_are_kept_apart() -> None:
    far = Traced(NORMAL, (Output("tap_3_eth0", None),))
    found = told(three(), "a1", "b2", OUT, far)
    assert found.error is not None
    why = "the one is in VLAN 101 and the other in VLAN 102, which are kept apart"
    assert why in found.error.what


def test_an_interface_that_is_broken_at_its_end() -> None:
    world = three()
    tap = world.taps["w2"]["tap_3_eth0"]
    world.taps["w2"]["tap_3_eth0"] = tap._replace(up=False)
    far = Traced(NORMAL, (Output("tap_3_eth0", None),))
    found = told(world, "a1", "b1", OUT, far)
    assert found.passages[-1].text == (
        "port tap_3_eth0 gives it out, and its TAP tap_3_eth0 is down"
    )
    assert found.error is not None
    assert found.error.cure == "fab plug --vm b1"


def test_on_one_worker() -> None:
    world = three()
    source, target = ends_of(world, "a1", "a2")
    assert story.entry(source, target, world.evidence()) is None
    assert told(world, "a1", "a2", Traced(NORMAL, (Output("trunk", 101),))).error is not None
