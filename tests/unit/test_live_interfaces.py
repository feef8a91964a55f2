"""Decisions about interfaces that a running VM gets, loses, or has pulled."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices.live import nics as live
from vmops.core.devices.nic import RunningNic
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Interface
from vmops.core.plan import restarting, starting
from vmops.core.plan.live import interfaces
from vmops.core.plan.status import of
from vmops.core.plan.stopping import KILLED
from vmops.core.tools import ip, monitor, ovs
from vmops.core.tools.monitor import Heard
from vmops.errors import MonitorError, PortConflict, WorkFailed

from .worlds import TAP1, TAP2, VM1, WORKER, commands, labels, port, running, with_port

ETH3 = Interface("eth3", vlan_id=103, model="virtio")
TAP3 = "tap_1001_eth3"
WITH_ETH3 = replace(VM1, interfaces=(*VM1.interfaces, ETH3))
SAID = (
    "e1000.0: index=0,type=nic,model=e1000,macaddr=52:54:00:03:e9:01\r\n"
    " \\ net0: index=0,type=tap,ifname=tap_1001_eth1,script=no,downscript=no\r\n"
    "e1000.1: index=0,type=nic,model=e1000,macaddr=52:54:00:03:e9:02\r\n"
    " \\ net1: index=0,type=tap,ifname=tap_1001_eth2,script=no,downscript=no\r\n"
)
CARD3 = (
    f"{TAP3}: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:03:e9:03\r\n"
    f" \\ {TAP3}: index=0,type=tap,fd=24\r\n"
)
BARE3 = f"{TAP3}: index=0,type=tap,fd=24\r\n"


def says(text: str | None, vm: VM = VM1, taps: tuple[str, ...] = (TAP1, TAP2)) -> Observed:
    """VM1 as it was launched, with what its monitor says and its process has open by now."""
    seen = running(vm)
    mine = seen.vm("vm1")._replace(taps=frozenset(taps))
    answers = ({"status": "running"}, *((text,) if text is not None else ()))
    return seen._replace(vms={"vm1": mine}, monitors={"vm1": Heard("vm1", answers=answers)})


def plugged_too(seen: Observed) -> Observed:
    taps = {**seen.taps, TAP3: ip.Tap(ip.alias("vm1"), in_use=True)}
    return with_port(seen, port(VM1, TAP3, 103))._replace(taps=taps)


def test_info_network_is_read_with_and_without_a_card() -> None:
    assert live.parse(SAID + CARD3) == (
        RunningNic(TAP1, "52:54:00:03:e9:01", "e1000", netdev="net0"),
        RunningNic(TAP2, "52:54:00:03:e9:02", "e1000", netdev="net1"),
        RunningNic(TAP3, "52:54:00:03:e9:03", "virtio-net-pci", card=TAP3, netdev=TAP3),
    )
    (bare,) = live.parse(BARE3)
    assert bare.is_bare
    assert bare.tap == TAP3


@given(st.text(max_size=300))
def test_what_a_hostile_monitor_says_is_read_without_an_exception(text: str) -> None:
    assert all(nic.tap for nic in live.parse(text) if nic.netdev)


def test_one_that_was_started_without_an_id_is_found_by_its_place() -> None:
    seen = says(SAID)
    assert [nic.card for nic in seen.nics("vm1")] == [
        "/machine/peripheral-anon/device[0]",
        "/machine/peripheral-anon/device[1]",
    ]


def test_what_was_added_is_no_drift_and_no_stranger() -> None:
    seen = plugged_too(says(SAID + CARD3, taps=(TAP1, TAP2, TAP3)))
    assert starting.launch(WORKER, WITH_ETH3, seen).action == "nothing"
    assert of(WORKER, WITH_ETH3, seen).drift == ()
    assert of(WORKER, WITH_ETH3, seen).error is None


@pytest.mark.parametrize("taps", [(TAP1, TAP2, TAP3), (TAP1, TAP3)])
def test_without_the_monitor_the_kernel_says_which_there_are(taps: tuple[str, ...]) -> None:
    seen = plugged_too(says(None, taps=taps))
    drift = {item.field for item in of(WORKER, WITH_ETH3, seen).drift}
    assert drift == (set() if TAP2 in taps else {"interfaces.eth2"})


def test_one_that_is_missing_is_plugged_and_added_in_one_step() -> None:
    made = starting.launch(WORKER, WITH_ETH3, says(SAID))
    assert (made.action, [item.live for item in made.drift]) == ("change", [True])
    assert labels(made) == ["plugged", "add eth3"]
    tap, *_, talk = commands(made, "add eth3")
    assert tap.startswith("set_up_taps")
    assert "getfd" not in talk
    for word in (f"tap {TAP3}", "netdev_add", "device_add"):
        assert word in talk
    assert made.block is not None
    step = next(step for step in made.block.numbered() if step.label == "add eth3")
    # Another operator may have added it since the look: his must not be taken back.
    guards = [(guard.stdin or b"").decode() for guard in made.block.guards]
    lacks = f'"name": "{TAP3}"'.encode().hex()
    assert any("qom-list" in said and f"lack {lacks}" in said for said in guards)
    undo = [command.words()[0] for command in step.undo]
    assert undo == ["take_back"] * 3 + ["unless_open"] * 2


def test_what_an_addition_left_half_done_is_gone_on_with() -> None:
    seen = plugged_too(says(SAID + BARE3, taps=(TAP1, TAP2, TAP3)))
    made = starting.launch(WORKER, WITH_ETH3, seen)
    assert labels(made) == ["plugged", "add eth3"]
    (talk,) = commands(made, "add eth3")
    assert "device_add" in talk
    assert "netdev_add" not in talk


@pytest.mark.parametrize("strict", [True, False])
def test_one_whose_tap_is_anothers_is_left_out(strict: bool) -> None:
    seen = says(SAID)
    seen = seen._replace(taps={**seen.taps, TAP3: ip.Tap("vmops:other")})
    if strict:
        with pytest.raises(PortConflict):
            starting.launch(WORKER, WITH_ETH3, seen, strict=True)
    else:
        made = starting.launch(WORKER, WITH_ETH3, seen)
        assert (made.action, [skip.interface for skip in made.skips]) == ("nothing", ["eth3"])


def test_one_too_many_goes_only_after_its_guest_has_let_go_of_it() -> None:
    less = replace(VM1, interfaces=VM1.interfaces[:1])
    made = starting.launch(WORKER, less, says(SAID))
    assert labels(made) == ["plugged", "remove eth2"]
    talk, ports, tap = commands(made, "remove eth2")
    order = [talk.index(word) for word in ("qom-get", "device_del", "DEVICE_DELETED", "netdev_del")]
    assert order == sorted(order)
    assert ports.startswith("unless_open 4821")
    assert tap.startswith("unless_open 4821")
    assert made.phases[0].waits_s >= live.RELEASE_LIMIT_S


def test_a_monitor_that_says_nothing_leaves_only_a_restart() -> None:
    made = starting.launch(WORKER, WITH_ETH3, says(None))
    assert made.action == "restart"


def test_the_way_back_of_a_restart_has_what_was_added() -> None:
    seen = plugged_too(says(SAID + CARD3, taps=(TAP1, TAP2, TAP3)))
    back = restarting.as_it_runs(WORKER, WITH_ETH3, seen)
    assert back is not None
    assert [(nic.name, nic.model) for nic in back.nics][2] == ("eth3", "virtio")
    made = restarting.restart(WORKER, replace(WITH_ETH3, ram_mb=256), seen, manner=KILLED)
    assert made.phases[0].recovery is not None


def test_a_link_is_pulled_once() -> None:
    seen = says(SAID)
    made = interfaces.set_link(WORKER, VM1, seen, name="eth2", up=False)
    talk, mark = commands(made, "link")
    assert '{"name": "net1", "up": false}' in talk
    assert mark == f"vsctl set Interface {TAP2} external_ids:vmops-link=pulled"
    pulled = port(VM1, TAP2, 102, external_ids={ovs.OWNER: "vm1", ovs.LINK: "pulled"})
    seen = with_port(seen, pulled)
    assert interfaces.set_link(WORKER, VM1, seen, name="eth2", up=False).action == "nothing"
    assert interfaces.set_link(WORKER, VM1, seen, name="eth2", up=True).action == "link"
    assert [nic.link for nic in of(WORKER, VM1, seen).interfaces] == ["up", "down"]


def test_a_link_that_cannot_be_pulled_is_told() -> None:
    with pytest.raises(WorkFailed, match="runs without eth3"):
        interfaces.set_link(WORKER, WITH_ETH3, says(SAID), name="eth3", up=False)
    with pytest.raises(MonitorError):
        interfaces.set_link(WORKER, VM1, says(None), name="eth2", up=False)


def test_a_qemu_that_starts_has_all_cables_in() -> None:
    pulled = port(VM1, TAP2, 102, external_ids={ovs.OWNER: "vm1", ovs.LINK: "pulled"})
    seen = with_port(says(SAID), pulled)._replace(vms={})
    seen = seen._replace(taps={name: ip.Tap(ip.alias("vm1")) for name in (TAP1, TAP2)})
    made = starting.launch(WORKER, VM1, seen)
    assert commands(made, "link") == [
        f"vsctl --if-exists remove Interface {TAP2} external_ids vmops-link"
    ]


@pytest.mark.parametrize(
    ("heard", "why"),
    [
        (Heard("vm1", answers=({},), ended="silent"), "has not let go"),
        (Heard("vm1", ended="silent"), "does not answer"),
        (Heard("vm1", answers=(monitor.Refused("busy"),)), "refuses it: busy"),
    ],
)
def test_why_a_card_is_still_there(heard: Heard, why: str) -> None:
    assert why in live.why_kept(heard)


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("made_anew", [False, True])
def test_a_tap_that_was_removed_under_a_qemu_takes_a_restart(silent: bool, made_anew: bool) -> None:
    """The kernel closes it for good: QEMU does not open another of that name."""
    seen = says(None if silent else SAID, taps=(TAP2,))
    if not made_anew:
        seen = seen._replace(taps={TAP2: seen.taps[TAP2]})
    with pytest.raises(WorkFailed) as refused:
        starting.plug(WORKER, VM1, seen)
    assert (refused.value.interface, refused.value.cure) == ("eth1", "fab restart --vm vm1")
    plan = starting.launch(WORKER, VM1, seen)
    assert (plan.action, plan.phases) == ("restart", ())
    assert [d.field for d in plan.drift] == ["interfaces.eth1" if silent else "interfaces.eth1.tap"]
    first, second = of(WORKER, VM1, seen).interfaces
    assert (first.plugged, first.fault) == (False, "cut off" if made_anew else "no TAP")
    assert (second.plugged, second.fault) == (True, "")
    for up in (True, False) if not silent else ():
        with pytest.raises(WorkFailed, match="its QEMU opens no other"):
            interfaces.set_link(WORKER, VM1, seen, name="eth1", up=up)
        assert interfaces.set_link(WORKER, VM1, seen, name="eth2", up=up).vm is VM1


def test_where_nobody_may_look_what_is_open_nothing_is_cut_off() -> None:
    seen = says(SAID)
    mine = seen.vm("vm1")._replace(taps=None)
    assert starting.plug(WORKER, VM1, seen._replace(vms={"vm1": mine})).action == "nothing"


def test_a_tap_for_a_card_that_is_still_to_come_is_not_cut_off() -> None:
    seen = plugged_too(says(SAID, WITH_ETH3))
    assert interfaces.cut_off(WITH_ETH3, seen) == ()
