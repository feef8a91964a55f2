"""What is left of VMs that do not run, and nothing else, is found and removed."""

from __future__ import annotations

import pytest

from vmops.core.facts.leftovers import Left
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.names import NET_LOCK, NetworkNames
from vmops.core.plan.upkeep import pruning
from vmops.core.plan.upkeep.pruning import Leftover
from vmops.core.tools import ip, ovs
from vmops.core.tools.lines.tunnels import MESH, port_to

from .worlds import EMPTY, TAP1, TAP2, VM1, WORKER, dead, labels, plugged, port, running, with_port

NOTHING = Left()


def names(seen: Observed, left: Left = NOTHING) -> list[str]:
    return [each.name for each in pruning.leftovers(seen, left)]


@pytest.mark.parametrize("pidfile", [True, False])
def test_all_that_a_dead_vm_left_is_found_and_goes_with_one_plan(pidfile: bool) -> None:
    seen = dead(pidfile=pidfile)
    found = pruning.leftovers(seen, NOTHING)
    assert [each.name for each in found] == ["/run/vmops/vm1", TAP1, TAP2, TAP1, TAP2]
    assert {each.vm for each in found} == {"vm1"}
    (made,) = pruning.plans(WORKER, found, seen)
    assert labels(made) == ["remove ports", "remove TAPs", "run directory"]
    assert made.block is not None
    guards = [("not_running", "vm1"), *([("same_remains", "vm1", "4821")] if pidfile else [])]
    assert [guard.argv for guard in made.block.guards] == guards


def test_nothing_of_a_vm_that_runs_is_left_over_whatever_an_inventory_says() -> None:
    assert names(running()) == []
    assert names(with_port(running(), port(VM1, "spare", 9))) == []


def test_what_carries_no_mark_of_ours_is_somebody_elses() -> None:
    seen = EMPTY._replace(taps={"tap_7_eth1": ip.Tap(), "tap0": ip.Tap("libvirt")})
    other = ovs.Port("tap_7_eth1", "br-int", 7, external_ids={"iface-id": "nova"})
    assert names(with_port(seen, other)) == []


def test_halves_are_found() -> None:
    seen = plugged()
    without_taps = seen._replace(taps={})
    without_ports = seen._replace(switch=ovs.Switch(seen.switch.bridges))
    for half, kind in ((without_taps, "port"), (without_ports, "TAP")):
        found = pruning.leftovers(half, NOTHING)
        assert [(each.kind, each.name) for each in found] == [(kind, TAP1), (kind, TAP2)]


def test_an_old_disk_is_listed_and_kept_with_the_vm_whose_it_was() -> None:
    path = f"{VM1.qcow_image}.moved-01234567"
    found = pruning.old_disks([path, "~/vm_images/x.moved-01234567"], [VM1])
    assert [(each.name, each.vm) for each in found] == [
        (path, "vm1"),
        ("~/vm_images/x.moved-01234567", ""),
    ]
    assert all(each.kept for each in found)
    assert (pruning.plans(WORKER, found, EMPTY), pruning.clearing(found)) == ([], [])


def test_what_a_process_uses_and_what_is_not_known_is_kept() -> None:
    used = dead(pidfile=True)._replace(taps={TAP1: ip.Tap(ip.alias("vm1"), in_use=True)})
    odd = EMPTY._replace(vms={"vm1": RunningVM("vm1", directory=True, odd=True)})
    for seen, why in ((used, f"a process uses TAP {TAP1}"), (odd, "not known")):
        found = pruning.leftovers(seen, NOTHING)
        assert found
        assert all(why in each.kept for each in found)
        assert pruning.plans(WORKER, found, seen) == []


@pytest.mark.parametrize("name", ["a b", "", "-x", "x" * 200, "a;id"])
def test_what_no_vm_can_be_called_is_kept(name: str) -> None:
    seen = EMPTY._replace(vms={name: RunningVM(name, directory=True)})
    found = pruning.leftovers(seen, NOTHING)
    assert [each.kept for each in found] == ["no VM has such a name"]
    assert pruning.plans(WORKER, found, seen) == []


def test_half_of_a_disk_is_removed_and_a_whole_one_never() -> None:
    """A disk that no VM of this hosts.toml has may be another one's."""
    found = pruning.leftovers(EMPTY, Left(halves=("disk-vm1-root.qcow2.new",)))
    (half,) = found
    assert half.name == "~/vm_images/.vmops/disk-vm1-root.qcow2.new"
    assert pruning.plans(WORKER, found, EMPTY) == []
    (block,) = pruning.clearing(found)
    assert [c.words() for s in block.numbered() for c in s.commands] == [("remove_half_disks",)]


def test_what_is_the_workers_own_goes_in_a_block_of_its_own() -> None:
    found = pruning.leftovers(EMPTY, Left((".said.7",), ("old",)))
    assert found == (
        Leftover("output", "/run/vmops/.said.7"),
        Leftover("lock", "/run/vmops/.lock/old", "old"),
    )
    assert pruning.plans(WORKER, found, EMPTY) == []
    (block,) = pruning.clearing(found)
    (step,) = block.numbered()
    assert [entry.words() for entry in step.commands] == [
        ("remove_outputs", "/run/vmops/.said.7"),
        ("remove_locks", "old"),
    ]
    assert pruning.clearing(()) == []


def network_port(name: str, *, called: str = "") -> ovs.Port:
    marks = {ovs.NETWORK: name}
    return ovs.Port(called or NetworkNames(name).port, "br-int", 100, external_ids=marks)


def test_parts_of_networks_go_under_the_lock_of_networks() -> None:
    seen = with_port(EMPTY, network_port("rebooted"))
    seen = with_port(seen, network_port("whole"))
    seen = with_port(seen, network_port("copied", called="eth7"))
    left = Left(networks=("half", "a b", "-x"), served=frozenset({"whole"}))
    found = pruning.leftovers(seen, left)
    assert found == (Leftover("network", "half"), Leftover("network", "rebooted"))
    (block,) = pruning.clearing(found)
    assert block.lock == NET_LOCK
    names = [NetworkNames(name) for name in ("half", "rebooted")]
    (step,) = block.numbered()
    assert [entry.words() for entry in step.commands] == [
        ("remove_left_networks", *(word for n in names for word in (n.network, n.short)))
    ]


def test_while_somebody_changes_networks_none_is_left_over() -> None:
    seen = with_port(EMPTY, network_port("new"))
    assert pruning.leftovers(seen, Left(networks=("half",))) == ()


def tunnel_to(peer: str, address: str, mark: str = MESH) -> ovs.Port:
    return ovs.Port(
        port_to(peer),
        "br-int",
        None,
        external_ids={mark: peer},
        kind="vxlan",
        options={"local_ip": "10.0.0.1", "remote_ip": address},
    )


KNOWN = {"worker1": "10.0.0.1", "worker2": "10.0.0.2", "named": None}


@pytest.mark.parametrize(
    ("port", "known", "is_left"),
    [
        (tunnel_to("worker9", "10.0.0.9"), KNOWN, True),
        (tunnel_to("worker2", "10.0.0.9"), KNOWN, False),
        (tunnel_to("two", "10.0.0.2"), KNOWN, False),
        (tunnel_to("worker9", "10.0.0.9"), {}, False),
        (tunnel_to("worker9", "10.0.0.9", mark="other"), KNOWN, False),
    ],
    ids=["lost", "moved", "called otherwise", "no inventory", "somebody else's"],
)
def test_a_tunnel_that_no_worker_answers_for_is_cut(
    port: ovs.Port, known: dict[str, str | None], is_left: bool
) -> None:
    """One that leads to a known worker the wrong way is `up`'s to mend."""
    found = pruning.leftovers(with_port(EMPTY, port), NOTHING, known)
    assert found == ((Leftover("tunnel", port.name),) if is_left else ())
    blocks = pruning.clearing(found)
    words = [
        " ".join(entry.words())
        for block in blocks
        for step in block.numbered()
        for entry in step.commands
    ]
    assert words == ([f"vsctl -- --if-exists del-port {port.name}"] if is_left else [])
    assert all(block.lock == NET_LOCK for block in blocks)
