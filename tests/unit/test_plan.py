"""Decisions: from what is wanted and what is observed to steps, and to refusals with their cure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Interface, Worker
from vmops.core.plan import vm as plan
from vmops.core.script import joint
from vmops.core.tools import ip, ovs
from vmops.errors import LaunchFailed, PortConflict, WorkFailed

from .worlds import EMPTY, HOST, VM1, WORKER, dead, plugged, port, running, with_port, without_port

TAP1, TAP2 = "tap_1001_eth1", "tap_1001_eth2"


def labels(made: plan.Plan) -> list[str]:
    assert made.block is not None
    return [step.label for step in made.block.numbered()]


def commands(made: plan.Plan, label: str) -> list[str]:
    assert made.block is not None
    step = next(step for step in made.block.numbered() if step.label == label)
    return [" ".join(command.words()) + (command.stdin or "") for command in step.commands]


def test_a_launch_plugs_all_at_once_and_can_fall_back_to_one_by_one() -> None:
    made = plan.launch(WORKER, VM1, EMPTY)
    assert made.action == "start"
    assert labels(made) == ["plug all", "plug eth1", "plug eth2", "run directory", "QEMU", "pid"]
    together = commands(made, "plug all")
    assert len([c for c in together if c.startswith("ip ")]) == 1, "one ip process for all TAPs"
    assert len([c for c in together if c.startswith("vsctl ")]) == 1, "one transaction"
    assert commands(made, "plug eth1")[:2] == [
        "ip tuntap add mode tap name tap_1001_eth1",
        "ip link set dev tap_1001_eth1 up alias vmops:vm1",
    ]


@pytest.mark.parametrize("interfaces", [1, 2, 8])
def test_a_launch_is_one_block_whatever_the_number_of_interfaces(interfaces: int) -> None:
    nics = tuple(Interface(f"eth{n}", vlan_id=100 + n) for n in range(1, interfaces + 1))
    made = plan.launch(WORKER, replace(VM1, interfaces=nics), EMPTY)
    assert made.block is not None
    assert made.block.lock == "/run/vmops/.lock/vm1"


def test_a_running_vm_as_asked_is_left_alone() -> None:
    made = plan.launch(WORKER, VM1, running())
    assert (made.action, made.block, made.drift) == ("nothing", None, ())


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
        pytest.param(VM1, replace(WORKER, accel="tcg"), "accel: kvm -> tcg", id="accelerator"),
        pytest.param(
            VM1,
            replace(WORKER, vnc_listen="0.0.0.0"),
            "vnc_listen: 127.0.0.1 -> 0.0.0.0",
            id="listen",
        ),
        pytest.param(
            VM1,
            replace(WORKER, vnc_listen="127.0.0.1"),
            "vnc_password: on -> off",
            id="password",
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
    made = plan.launch(worker, wanted, running())
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
    made = plan.launch(WORKER, VM1, with_port(running(), changed))
    assert made.action == "replug"
    assert [str(item) for item in made.drift] == [field]
    assert labels(made) == ["plugged", "plug eth1"]
    assert not any("tuntap" in command for command in commands(made, "plug eth1"))


def test_a_tap_that_went_away_under_a_running_vm_needs_a_restart() -> None:
    seen = running()
    made = plan.launch(WORKER, VM1, seen._replace(taps={TAP2: ip.Tap(ip.alias("vm1"))}))
    assert made.action == "restart"


@pytest.mark.parametrize(
    ("seen", "worker", "reason", "cure"),
    [
        pytest.param(
            EMPTY._replace(images={"~/vm1.qcow2": "missing"}),
            WORKER,
            "no image /home/ubuntu/vm1.qcow2",
            "qcow_image",
            id="no-image",
        ),
        pytest.param(
            EMPTY._replace(images={"~/vm1.qcow2": "odd"}),
            WORKER,
            "neither a file nor a block device",
            "qcow_image",
            id="image-is-a-folder",
        ),
        pytest.param(
            EMPTY._replace(host=HOST._replace(qemu="")),
            WORKER,
            "not installed",
            "apt",
            id="no-qemu",
        ),
        pytest.param(
            EMPTY._replace(host=HOST._replace(kvm="absent")),
            WORKER,
            "no /dev/kvm",
            'accel = "auto"',
            id="no-kvm",
        ),
        pytest.param(
            EMPTY._replace(host=HOST._replace(kvm="denied")),
            WORKER,
            "cannot be opened",
            'accel = "auto"',
            id="kvm-denied",
        ),
        pytest.param(
            EMPTY._replace(listening=frozenset({5901})),
            WORKER,
            "port 5901 is in use",
            "ss -ltnp",
            id="vnc-port-in-use",
        ),
        pytest.param(
            EMPTY._replace(host=HOST._replace(available_mb=511)),
            WORKER,
            "512 MiB",
            "lower ram_mb",
            id="memory",
        ),
        pytest.param(
            EMPTY._replace(switch=ovs.Switch(fault="database connection failed")),
            WORKER,
            "Open vSwitch does not answer: database connection failed",
            "systemctl",
            id="no-ovs",
        ),
        pytest.param(
            EMPTY._replace(switch=ovs.Switch({"br0": ""})),
            WORKER,
            "no bridge br-int; Open vSwitch has: br0",
            "add-br br-int",
            id="no-bridge",
        ),
    ],
)
def test_what_would_fail_is_refused_before_anything_is_done(
    seen: Observed, worker: Worker, reason: str, cure: str
) -> None:
    with pytest.raises(WorkFailed) as refused:
        plan.launch(worker, VM1, seen)
    assert reason in str(refused.value)
    assert cure in refused.value.cure
    assert refused.value.worker == "w1"


def test_auto_takes_kvm_only_where_it_can_be_opened() -> None:
    auto = replace(WORKER, accel="auto")
    without = EMPTY._replace(host=HOST._replace(kvm="denied"))
    assert "-enable-kvm" in commands(plan.launch(auto, VM1, EMPTY), "QEMU")[0]
    assert "-accel tcg" in commands(plan.launch(auto, VM1, without), "QEMU")[0]


def test_a_vm_without_a_connected_interface_needs_no_switch() -> None:
    lonely = replace(VM1, interfaces=(Interface("eth1"),))
    seen = EMPTY._replace(switch=ovs.Switch(fault="down"))
    assert labels(plan.launch(WORKER, lonely, seen)) == ["run directory", "QEMU", "pid"]


FOREIGN = [
    pytest.param(
        with_port(EMPTY, port(VM1, TAP1, 7, external_ids={"iface-id": "lsp1"})),
        f"port {TAP1} belongs to lsp1",
        id="port",
    ),
    pytest.param(
        EMPTY._replace(taps={TAP1: ip.Tap("vmops:vm9")}),
        f"TAP {TAP1} belongs to vm9",
        id="tap",
    ),
]


@pytest.mark.parametrize(("seen", "reason"), FOREIGN)
def test_what_belongs_to_somebody_else_is_skipped_and_never_touched(
    seen: Observed, reason: str
) -> None:
    made = plan.launch(WORKER, VM1, seen)
    assert [(skip.interface, skip.reason) for skip in made.skips] == [("eth1", reason)]
    assert made.block is not None
    touched = [command for label in labels(made)[:-3] for command in commands(made, label)]
    assert not any(TAP1 in command for command in touched)
    with pytest.raises(PortConflict, match=reason):
        plan.launch(WORKER, VM1, seen, strict=True)
    assert plan.stop(VM1, seen).block is None, "nothing of the VM's own is there"


@pytest.mark.parametrize("seen", [entry.values[0] for entry in FOREIGN], ids=["port", "tap"])
def test_a_vm_without_an_interface_that_it_cannot_have_is_not_restarted_for_it(
    seen: Observed,
) -> None:
    eth1, eth2 = VM1.interfaces
    only_eth2 = replace(VM1, interfaces=(replace(eth1, vlan_id=None), eth2))
    found = running(only_eth2, before=seen)
    lone = plan.launch(WORKER, VM1, found)
    assert (lone.action, [skip.interface for skip in lone.skips]) == ("nothing", ["eth1"])
    other = plan.launch(WORKER, replace(VM1, cores=2), found)
    assert [item.field for item in other.drift] == ["cores"]
    with pytest.raises(PortConflict):
        plan.launch(WORKER, VM1, found, strict=True)


@pytest.mark.parametrize("alias", ["", "vmops:vm1"])
def test_a_tap_that_an_unknown_process_uses_stops_everything(alias: str) -> None:
    """Most likely it is the VM, started by another system: not to be run twice, nor cut off."""
    seen = plugged()._replace(taps={TAP2: ip.Tap(alias, in_use=True)})
    for act in (plan.launch, plan.plug, plan.boot):
        with pytest.raises(WorkFailed, match=f"did not start uses its TAP {TAP2}"):
            act(WORKER, VM1, seen)
    for end in (plan.stop, plan.unplug):
        with pytest.raises(WorkFailed, match="did not start"):
            end(VM1, seen)
    left = dead(pidfile=False)
    assert plan.tidy(VM1, left).action == "tidy"
    assert plan.tidy(VM1, left._replace(taps=seen.taps)).action == "nothing"
    mine = running()._replace(taps={tap: ip.Tap("vmops:vm1", in_use=True) for tap in (TAP1, TAP2)})
    assert plan.launch(WORKER, VM1, mine).action == "nothing"


def test_strict_steps_end_the_block_where_lenient_ones_do_not() -> None:
    for strict in (False, True):
        made = plan.launch(WORKER, VM1, EMPTY, strict=strict)
        assert made.block is not None
        apart = [step for step in made.block.numbered() if step.label.startswith("plug eth")]
        assert [step.may_fail for step in apart] == [not strict] * 2


@pytest.mark.parametrize(
    ("pidfile", "note"), [(True, "had crashed"), (False, "had powered itself off")]
)
def test_leftovers_of_a_dead_vm_go_first(pidfile: bool, note: str) -> None:
    made = plan.launch(WORKER, VM1, dead(pidfile=pidfile))
    assert labels(made)[0] == "leftovers"
    assert any(note in line for line in made.notes)


def test_boot_takes_part_with_what_is_plugged_only() -> None:
    half = without_port(plugged(), TAP2)
    made = plan.boot(WORKER, VM1, half)
    assert [skip.interface for skip in made.skips] == ["eth2"]
    assert made.block is not None
    assert made.block.numbered()[0].sets == ("nic1",)
    with pytest.raises(LaunchFailed, match="eth2 is not plugged"):
        plan.boot(WORKER, VM1, half, strict=True)


def test_plug_of_what_is_plugged_is_nothing() -> None:
    assert plan.plug(WORKER, VM1, plugged()).action == "nothing"
    assert labels(plan.plug(WORKER, VM1, without_port(plugged(), TAP2))) == ["plugged", "plug eth2"]


def test_plug_of_a_running_vm_only_wants_it_to_be_the_same() -> None:
    block = plan.plug(WORKER, VM1, without_port(running(), TAP2)).block
    assert block is not None
    assert [guard.argv for guard in block.guards] == [("still_running", "vm1", "4821", "5000")]


@pytest.mark.parametrize("pidfile", [True, False])
def test_plug_begins_a_new_life_for_a_vm_that_died(pidfile: bool) -> None:
    """What it plugs is not what the dead one left, so nobody tidies it away."""
    assert labels(plan.plug(WORKER, VM1, dead(pidfile=pidfile))) == ["leftovers", "plugged"]


def test_stop_of_what_is_not_there_is_nothing() -> None:
    assert plan.stop(VM1, EMPTY).action == "nothing"


def test_force_goes_straight_to_sigkill_by_pid_and_start_time() -> None:
    made = plan.stop(VM1, running())
    assert labels(made) == ["SIGKILL", "remove ports", "remove TAPs", "run directory"]
    assert commands(made, "SIGKILL") == ["end_process 4821 5000 KILL 10"]
    assert commands(made, "remove ports")[0].count("del-port") == 2


def test_stop_removes_marked_ports_that_the_inventory_forgot() -> None:
    seen = with_port(running(), port(VM1, "tap_1001_eth9", 5))
    assert any("tap_1001_eth9" in c for c in commands(plan.stop(VM1, seen), "remove ports"))


def test_unplug_is_refused_while_the_vm_runs() -> None:
    with pytest.raises(WorkFailed, match="is running"):
        plan.unplug(VM1, running())
    assert labels(plan.unplug(VM1, plugged())) == ["remove ports", "remove TAPs"]


def test_unknown_is_not_absent() -> None:
    """Where OVSDB cannot be read, the ports are removed all the same, if they are the VM's."""
    seen = running()._replace(switch=ovs.Switch(fault="down"))
    made = plan.stop(VM1, seen)
    assert commands(made, "remove ports") == [f"remove_own_ports vm1 {TAP1} {TAP2}"]


def test_a_running_vm_is_not_to_be_restarted_because_the_switch_is_silent() -> None:
    with pytest.raises(WorkFailed, match="Open vSwitch does not answer: down"):
        plan.launch(WORKER, VM1, running()._replace(switch=ovs.Switch(fault="down")))


def test_the_ports_of_several_vms_are_one_transaction_each_with_its_own_words() -> None:
    vm2 = replace(VM1, name="vm2", vm_id=1002, vnc_port=5902)
    plans = [plan.launch(WORKER, vm, EMPTY) for vm in (VM1, vm2)]
    found = [joint.step_of(made.block) for made in plans if made.block is not None]
    together = [
        entry.words() for entry in joint.commands([step for _, step in filter(None, found)])
    ]
    (transaction,) = [words for words in together if words[0] == "vsctl"]
    for vm in (VM1, vm2):
        for nic in vm.connected:
            assert ("add-port", "br-int", nic.tap, f"tag={nic.vlan_id}") in zip(
                transaction, transaction[1:], transaction[2:], transaction[3:], strict=False
            )
    assert together[-1][0] == "holds_ports"
    assert len(together[-1]) == 1 + 2 * 4
