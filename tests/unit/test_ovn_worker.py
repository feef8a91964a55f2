"""A worker that follows OVN: what makes it, and a VM's port there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vmops.core.devices import nic
from vmops.core.devices.nic import Plugging, Wiring
from vmops.core.facts.network.following import Following, Outer, following
from vmops.core.inventory.inventory import Part
from vmops.core.inventory.model import VM
from vmops.core.plan.checks import ovn_cure
from vmops.core.plan.network import following as setting_up
from vmops.core.script.command import Step, StepResult
from vmops.core.tools import ip, ovs
from vmops.errors import WorkFailed

from .ovn_networks import BLUE, W1, W2, WEB, read

# The port on a worker


def listed_vm() -> VM:
    return read(BLUE, WEB).vms["web"]


def plugged(**changes: Any) -> Wiring:
    vm = listed_vm()
    marks = {ovs.OWNER: "web", "iface-id": "web:eth0", "ovn-installed": "true"}
    port = ovs.Port(vm.nics[0].tap, "br-ovn", None, external_ids=marks, ofport=1)
    port = port._replace(**changes)
    switch = ovs.Switch({"br-int": "", "br-ovn": ""}, {port.name: port})
    return Wiring(switch, {port.name: ip.Tap(ip.alias("web"))})


def test_its_port_has_no_tag_and_ovns_name_and_is_waited_for() -> None:
    vm = listed_vm()
    job = Plugging(W1, vm, Wiring(ovs.Switch({"br-int": "", "br-ovn": ""})), 0)
    ((step,), _) = nic.plugging(job, vm.connected, strict=False)
    assert isinstance(step, Step)
    said = [list(entry.words()) for entry in step.commands]
    plug = next(each for each in said if "add-port" in each)
    assert plug[plug.index("add-port") : plug.index("add-port") + 4] == [
        *("add-port", "br-ovn", vm.nics[0].tap, "--"),
    ]
    assert 'external_ids:iface-id="web:eth0"' in plug
    assert said[-1] == ["holds_logical_ports", vm.nics[0].tap, "web:eth0"]
    assert nic.port_drift(W1, vm, vm.nics[0], plugged()) == []


@pytest.mark.parametrize(
    ("changes", "drift"),
    [
        ({"bridge": "br-int", "tag": 5}, "interfaces.eth0.bridge: br-int -> br-ovn"),
        (
            {"external_ids": {ovs.OWNER: "web", "iface-id": "x", "ovn-installed": "true"}},
            "interfaces.eth0.vlan_id: OVN port x -> OVN port web:eth0",
        ),
        (
            {"external_ids": {ovs.OWNER: "web", "iface-id": "web:eth0"}},
            "interfaces.eth0.ovn: not installed -> installed",
        ),
    ],
)
def test_a_port_that_is_not_as_it_should_be_gets_a_new_row(
    changes: dict[str, Any], drift: str
) -> None:
    vm, wiring = listed_vm(), plugged(**changes)
    assert drift in map(str, nic.port_drift(W1, vm, vm.nics[0], wiring))
    ((step,), _) = nic.plugging(Plugging(W1, vm, wiring, 0), vm.connected, strict=False)
    assert isinstance(step, Step)
    first = step.commands[0].words()
    assert first[1:] == ("--", "--if-exists", "del-port", vm.nics[0].tap)
    # What was there is put back where it fails, but for what OVN had said of the row that has gone.
    back = " ".join(word for entry in step.undo for word in entry.words())
    assert "ovn-installed" not in back


SWITCH = "\n".join(
    json.dumps({"headings": head, "data": []})
    for head in (
        ["name", "datapath_type", "fail_mode", "ports"],
        ["_uuid", "name", "tag", "trunks", "vlan_mode", "fake_bridge", "protected", "interfaces"],
        ["_uuid", "name", "external_ids", "ofport", "error", "type", "options"],
    )
)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", ""),
        ("ovn gone", "ovn-controller does not run"),
        ("ovn not connected", "ovn-controller has no connection to OVN's central"),
        ("ovn deaf", "ovn-controller does not answer"),
        ("ovn untold", "ovn-controller was not told where OVN's central is"),
        ("ovn something new", "ovn-controller says 'something new'"),
    ],
)
def test_a_controller_that_follows_nobody_is_told_of_ovns_bridge_alone(said: str, why: str) -> None:
    found = ovs.parse(f"{SWITCH}\n{said}\n")
    assert found.lifeless("br-ovn") == why
    assert found.lifeless("br-int") == ""


def test_one_that_was_told_nothing_is_set_up_and_any_other_restarted() -> None:
    untold, gone = (ovs.ovn_fault(word) for word in ("untold", "gone"))
    assert ovn_cure("w1", untold) == "fab -H w1 ovn.setup"
    assert ovn_cure("w1", gone) == "there: sudo systemctl restart ovn-controller"


# What makes a worker follow


def test_a_worker_is_set_up_by_three_commands_and_then_left_alone() -> None:
    found = Following(datapath="netdev", fault="ovn-controller has no connection to OVN's central")
    setup = setting_up.set_up(W2, Part(W1), found)
    assert setup.labels == ("bridge", "tunnels", "central", "connected")
    groups = setting_up.wanted(W2, Part(W1), found)
    assert groups["central"] == {"ovn-remote": "tcp:10.0.0.1:6642"}
    assert groups["bridge"] == {
        "ovn-bridge": "br-ovn",
        "ovn-bridge-datapath-type": "netdev",
        "system-id": "w2",
    }
    settings = {key: value for group in groups.values() for key, value in group.items()}
    ready = Following(settings={**settings, "system-id": "its own"}, datapath="netdev")
    assert setting_up.set_up(W2, Part(W1), ready).block is None
    assert all(check.ok for check in setting_up.checks(W2, Part(W1), ready))


def test_the_centrals_worker_listens_too() -> None:
    assert setting_up.set_up(W1, Part(W1), Following()).labels[0] == "listen"
    elsewhere = Following(listens=("ptcp:6642:10.9.9.9", "pssl:6642:10.9.9.9"))
    assert setting_up.set_up(W1, Part(W1), elsewhere).labels[0] == "listen"
    for where in ("ptcp:6642", "ptcp:6642:0.0.0.0", "ptcp:6642:10.0.0.1"):
        assert setting_up.set_up(W1, Part(W1), Following(listens=(where,))).labels[0] == "bridge"


@pytest.mark.parametrize(
    ("found", "what", "cure"),
    [
        (
            Following(missing=("ovn-controller",)),
            "no ovn-controller",
            "external_ids:ovn-bridge=br-ovn",
        ),
        (Following(missing=("ovn-nbctl",)), "no ovn-nbctl", "apt install ovn-central"),
        (
            Following(settings={"ovn-remote": "ssl:10.7.7.7:6642"}),
            "follows another central, ssl:10.7.7.7:6642",
            "remove Open_vSwitch . external_ids ovn-remote",
        ),
    ],
)
def test_nothing_is_installed_and_nobodys_worker_taken(
    found: Following, what: str, cure: str
) -> None:
    with pytest.raises(WorkFailed) as caught:
        setting_up.set_up(W1, Part(W1), found)
    assert what in caught.value.what
    assert cure in caught.value.cure


def test_what_a_worker_says_of_its_part() -> None:
    settings = {"headings": ["external_ids"], "data": [[["map", [["ovn-remote", "tcp:x:6642"]]]]]}
    parts = {
        "missing": "ovn-nbctl\n",
        "settings": json.dumps(settings) + "\n",
        "datapath": "netdev\n",
        "state": "ovn not connected\n",
        "listens": 'read-write role="" ptcp:6642\n',
        "keys": "switch\ncentral\n",
        "outside": "eth1 device br-vmops 10.9.0.1/24 10.9.0.2/24\n",
    }
    said = StepResult(
        Step("", ()), 0, parts=tuple((name, text.encode()) for name, text in parts.items())
    )
    found = following(W1, Part(W1, "eth1")).read(said)
    assert found == Following(
        ("ovn-nbctl",),
        {"ovn-remote": "tcp:x:6642"},
        "netdev",
        "ovn-controller has no connection to OVN's central",
        ("ptcp:6642",),
        Outer("eth1", port_of="br-vmops", addresses=("10.9.0.1/24", "10.9.0.2/24")),
        keys=("switch", "central"),
    )


def test_a_worker_of_such_a_network_maps_the_bridge_of_vlans_beside_what_is_there() -> None:
    part = read(BLUE + "vlan_id = 30\n", WEB).part_of(W1)
    assert part == Part(W1, vlans=True)
    for there, label, mapped in (
        ("", "vlans", "vmops-vlans:br-int"),
        ("theirs:br-ex", "vlans", "theirs:br-ex,vmops-vlans:br-int"),
        ("vmops-vlans:br-old,theirs:br-ex", "vlans", "theirs:br-ex,vmops-vlans:br-int"),
        ("vmops-vlans:br-int,theirs:br-ex", "vlans", "vmops-vlans:br-int,theirs:br-ex"),
    ):
        found = Following(settings={"ovn-bridge-mappings": there})
        assert setting_up.wanted(W1, part, found)[label] == {"ovn-bridge-mappings": mapped}
    both = Following(outer=Outer("br-ex", is_bridge=True))
    assert setting_up.wanted(W1, part, both)["outside"] == {
        "ovn-bridge-mappings": "vmops-outside:br-ex,vmops-vlans:br-int"
    }
    assert "vlans" not in setting_up.wanted(W1, Part(W1), Following())
