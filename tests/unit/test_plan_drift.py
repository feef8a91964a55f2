"""Decisions about a VM that runs: what differs, and what can be mended while it runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmops.core.devices.display import Screen
from vmops.core.inventory.model import VM, Interface, Worker
from vmops.core.plan import starting
from vmops.core.plan.drift import launch_values
from vmops.core.plan.phase import Plan
from vmops.core.tools import ip, ovs
from vmops.errors import WorkFailed

from .worlds import (
    EMPTY,
    TAP1,
    TAP2,
    VM1,
    WORKER,
    commands,
    labels,
    port,
    running,
    with_port,
)


@pytest.mark.parametrize("said", [None, "127.0.0.1"])
@pytest.mark.parametrize("launched", [None, "127.0.0.1"])
def test_a_running_vm_as_asked_is_left_alone(launched: str | None, said: str | None) -> None:
    before = running(worker=replace(WORKER, vnc_listen=launched))
    made = starting.launch(replace(WORKER, vnc_listen=said), VM1, before)
    assert (made.action, made.block, made.drift) == ("nothing", None, ())


@pytest.mark.parametrize(
    ("listen", "asks"),
    [
        (None, True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
    ],
)
def test_vnc_asks_for_a_password_on_loopback(listen: str | None, asks: bool) -> None:
    launched = launch_values(replace(WORKER, vnc_listen=listen), VM1, EMPTY)
    assert launched.screen == Screen(listen or "127.0.0.1", VM1.vnc_port or 0, has_password=asks)


def test_a_vm_on_loopback_that_lets_everybody_in_has_drifted() -> None:
    seen = running()
    mine = seen.vm("vm1")
    assert mine.process is not None
    argv = tuple(word.replace(",password=on", "") for word in mine.process.argv)
    mine = mine._replace(process=mine.process._replace(argv=argv))
    made = starting.launch(WORKER, VM1, seen._replace(vms={"vm1": mine}))
    assert [str(item) for item in made.drift] == ["vnc_password: off -> on"]


def test_a_vm_that_was_started_without_a_cpu_drifts_only_for_one_that_is_named() -> None:
    """So no VM that runs already has to be restarted for the default."""
    seen = running()
    mine = seen.vm("vm1")
    assert mine.process is not None
    argv = list(mine.process.argv)
    at = argv.index("-cpu")
    mine = mine._replace(process=mine.process._replace(argv=(*argv[:at], *argv[at + 2 :])))
    old = seen._replace(vms={"vm1": mine})
    assert starting.launch(WORKER, VM1, old).action == "nothing"
    assert starting.launch(WORKER, replace(VM1, disk_model="ide"), old).action == "nothing"
    made = starting.launch(WORKER, replace(VM1, cpu="max"), old)
    assert [str(item) for item in made.drift] == ["cpu: QEMU's -> max"]


@pytest.mark.parametrize(
    ("wanted", "worker", "field"),
    [
        pytest.param(replace(VM1, ram_mb=1024), WORKER, "ram_mb: 512 -> 1024", id="memory"),
        pytest.param(replace(VM1, cores=2), WORKER, "cores: 1 -> 2", id="cores"),
        pytest.param(replace(VM1, vnc_port=5999), WORKER, "vnc_port: 5901 -> 5999", id="vnc"),
        pytest.param(
            replace(VM1, qcow_image="/b.qcow2"),
            WORKER,
            "qcow_image: /home/ubuntu/vm1.qcow2 -> /b.qcow2",
            id="image",
        ),
        pytest.param(
            replace(VM1, cpu="host"), replace(WORKER, accel="tcg"), "accel: kvm -> tcg", id="accel"
        ),
        pytest.param(replace(VM1, cpu="Nehalem"), WORKER, "cpu: host -> Nehalem", id="cpu"),
        pytest.param(
            replace(VM1, disk_model="virtio"), WORKER, "disk_model: ide -> virtio", id="disk"
        ),
        pytest.param(
            VM1,
            replace(WORKER, vnc_listen="0.0.0.0"),
            "vnc_listen: 127.0.0.1 -> 0.0.0.0",
            id="listen",
        ),
        pytest.param(
            replace(VM1, interfaces=(VM1.interfaces[0],)),
            WORKER,
            f"interfaces: {TAP2} in the VM -> not connected",
            id="interface-less",
        ),
        pytest.param(
            replace(VM1, interfaces=(*VM1.interfaces, Interface("eth3", vlan_id=5))),
            WORKER,
            "interfaces.eth3: not in the VM -> connected",
            id="interface-more",
        ),
        pytest.param(
            replace(
                VM1, interfaces=(replace(VM1.interfaces[0], model="virtio"), VM1.interfaces[1])
            ),
            WORKER,
            "interfaces.eth1.model: e1000 -> virtio-net-pci",
            id="model",
        ),
        pytest.param(
            replace(
                VM1,
                interfaces=(replace(VM1.interfaces[0], mac="52:54:00:aa:bb:cc"), VM1.interfaces[1]),
            ),
            WORKER,
            "interfaces.eth1.mac: 52:54:00:03:e9:01 -> 52:54:00:aa:bb:cc",
            id="mac",
        ),
    ],
)
def test_what_needs_a_restart_is_named_from_and_to(wanted: VM, worker: Worker, field: str) -> None:
    made = starting.launch(worker, wanted, running())
    assert made.action == "restart"
    assert made.block is None
    assert field in [str(item) for item in made.drift]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        pytest.param(port(VM1, TAP1, 999), "interfaces.eth1.vlan_id: 999 -> 101", id="tag"),
        pytest.param(
            port(VM1, TAP1, None),
            "interfaces.eth1.vlan_id: trunk of all VLANs -> 101",
            id="no-tag-is-a-trunk",
        ),
        pytest.param(
            port(VM1, TAP1, 101, trunks=(7,), vlan_mode="native-tagged"),
            "interfaces.eth1.vlan_id: 101 with native-tagged [7] -> 101",
            id="a-mode-of-its-own",
        ),
        pytest.param(
            port(VM1, TAP1, 101)._replace(bridge="br0"),
            "interfaces.eth1.bridge: br0 -> br-int",
            id="bridge",
        ),
        pytest.param(
            port(VM1, TAP1, 101, external_ids={}),
            "interfaces.eth1.owner: nobody -> vm1",
            id="owner",
        ),
        pytest.param(
            port(VM1, TAP1, 101, error="could not open", ofport=-1),
            "interfaces.eth1.port: could not open -> plugged",
            id="the-switch-could-not-take-it",
        ),
    ],
)
def test_a_port_that_differs_is_replugged_while_the_vm_runs(changed: ovs.Port, field: str) -> None:
    made = starting.launch(WORKER, VM1, with_port(running(), changed))
    assert made.action == "replug"
    assert [str(item) for item in made.drift] == [field]
    assert labels(made) == ["plugged", "plug eth1"]
    assert not any("tuntap" in command for command in commands(made, "plug eth1"))


def undo(made: Plan, label: str) -> list[str]:
    assert made.block is not None
    (step,) = [step for step in made.block.numbered() if step.label == label]
    return [" ".join(command.words()) for command in step.undo]


def test_a_port_is_changed_where_it_is_and_put_back_as_it_was() -> None:
    """Neither a replug nor its undo takes a port off a running VM."""
    marks = {ovs.OWNER: "vm1", "note": 'a "b", c'}
    was = port(VM1, TAP1, 7, trunks=(5, 6), vlan_mode="native-tagged", external_ids=marks)
    made = starting.launch(WORKER, VM1, with_port(running(), was))
    assert not any("del-port" in command for command in commands(made, "plug eth1"))
    back, tap = undo(made, "plug eth1")
    assert "del-port" not in back
    assert f"--if-exists set Port {TAP1} tag=7 trunks=[5, 6] vlan_mode=native-tagged" in back
    assert 'external_ids={"vmops-vm"="vm1","note"="a \\"b\\", c"}' in back
    assert tap == f"restore_tap {TAP1} vmops:vm1 vmops:vm1 up 1500"


@pytest.mark.parametrize(
    "was", [port(VM1, TAP1, None), port(VM1, TAP1, None, ofport=-1, error="no such device")]
)
def test_a_port_that_was_open_to_every_vlan_keeps_the_one_it_was_given(was: ovs.Port) -> None:
    """An undo would open it again, and perhaps what another operator has closed meanwhile."""
    made = starting.launch(WORKER, VM1, with_port(running(), was))
    assert undo(made, "plug eth1") == [f"restore_tap {TAP1} vmops:vm1 vmops:vm1 up 1500"]


@pytest.mark.parametrize(
    "was",
    [
        port(VM1, TAP1, None)._replace(bridge="br0"),
        port(VM1, TAP1, 101, ofport=-1, error="no such device"),
    ],
    ids=["another-bridge", "not-taken"],
)
def test_a_port_that_must_move_comes_back_where_it_was(was: ovs.Port) -> None:
    made = starting.launch(WORKER, VM1, with_port(running(), was))
    assert commands(made, "plug eth1")[0] == f"vsctl -- --if-exists del-port {TAP1}"
    back, _ = undo(made, "plug eth1")
    assert f"-- add-port {was.bridge} {TAP1} tag={was.tag or '[]'} trunks=[] vlan_mode=[]" in back


def test_an_own_tap_that_is_down_is_set_up_again_while_the_vm_runs() -> None:
    seen = running()
    taps = {**seen.taps, TAP1: ip.Tap("vmops:vm1", in_use=True, up=False)}
    made = starting.launch(WORKER, VM1, seen._replace(taps=taps))
    assert made.action == "replug"
    assert [str(item) for item in made.drift] == ["interfaces.eth1.tap: down -> up"]
    assert f"raise_taps {TAP1}" in commands(made, "plug eth1")
    assert undo(made, "plug eth1")[1] == f"restore_tap {TAP1} vmops:vm1 vmops:vm1 down 1500"


def test_a_tap_that_was_there_gets_its_mark_and_state_back() -> None:
    """It may have become somebody else's by the time that QEMU cannot open it."""
    seen = EMPTY._replace(taps={TAP1: ip.Tap(up=False, mtu=9000)})
    made = starting.launch(WORKER, VM1, seen)
    assert f"restore_tap {TAP1} vmops:vm1  down 9000" in undo(made, "plug eth1")
    assert f"remove_own_tap {TAP1} vmops:vm1" not in undo(made, "plug eth1")


def test_a_tap_that_went_away_under_a_running_vm_needs_a_restart() -> None:
    seen = running()
    made = starting.launch(WORKER, VM1, seen._replace(taps={TAP2: ip.Tap(ip.alias("vm1"))}))
    assert made.action == "restart"


def test_a_running_vm_is_not_to_be_restarted_because_the_switch_is_silent() -> None:
    with pytest.raises(WorkFailed, match="Open vSwitch does not answer: down"):
        starting.launch(WORKER, VM1, running()._replace(switch=ovs.Switch(fault="down")))
