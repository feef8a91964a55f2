"""How names, addresses and patterns find workers and VMs in an inventory."""

from __future__ import annotations

from typing import Any

import pytest

from vmops.core.inventory.inventory import parse
from vmops.errors import InventoryError

VM_TOML = 'ram_mb = 512\ncores = 1\nvm_id = {0}\nvnc_port = 590{0}\nqcow_image = "/{0}"\n'

FLEET = parse(
    '[defaults]\nuser = "anna"\n'
    '[workers.worker1]\naddress = "10.0.10.1"\n'
    '[workers.worker2]\naddress = "10.0.10.2"\n'
    f'[vms.web1]\nworker = "worker1"\n{VM_TOML.format(1)}'
    f"[vms.web2]\n{VM_TOML.format(2)}"
    f'[vms.db3]\nworker = "worker2"\n{VM_TOML.format(3)}',
    source="hosts.toml",
)


def test_a_vm_is_found_by_its_name_or_a_guess_is_made() -> None:
    assert FLEET.vm("web2").vm_id == 2
    with pytest.raises(InventoryError, match=r'no VM \'wbe1\'; did you mean "web1"\?'):
        FLEET.vm("wbe1")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("web1", ["web1"]),
        ("db3,web1", ["web1", "db3"]),
        ("web*", ["web1", "web2"]),
        ("*", ["web1", "web2", "db3"]),
        ("web1, web?,web1", ["web1", "web2"]),
        ("[dw]*[13]", ["web1", "db3"]),
    ],
)
def test_a_pattern_selects_in_the_order_of_the_file(pattern: str, names: list[str]) -> None:
    assert [vm.name for vm in FLEET.select(pattern)] == names


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("web1,wbe2", "there is no VM 'wbe2'; did you mean \"web2\"?"),
        ("WEB1", "there is no VM 'WEB1'; did you mean \"web1\"?"),
        ("x*", "no VM matches 'x*'; there is: web1, web2, db3"),
        ("web.", "there is no VM 'web.'; did you mean"),
        ("\x1b[2J", r"no VM matches '\x1b[2J'; there is"),
    ],
)
def test_each_part_of_a_pattern_has_to_match(pattern: str, complaint: str) -> None:
    with pytest.raises(InventoryError) as caught:
        FLEET.select(pattern)
    assert str(caught.value).startswith(f"hosts.toml: {complaint}")


@pytest.mark.parametrize(
    ("wanted", "name", "address"),
    [
        pytest.param("worker2", "worker2", "10.0.10.2", id="name"),
        pytest.param("10.0.10.2", "worker2", "10.0.10.2", id="address"),
        pytest.param("10.0.10.9", "10.0.10.9", "10.0.10.9", id="unlisted-address"),
        pytest.param("FE80::9", "fe80::9", "fe80::9", id="unlisted-ipv6"),
        pytest.param("worker3.lan", "worker3.lan", "worker3.lan", id="full-name"),
        pytest.param("gateway", "gateway", "gateway", id="word-unlike-any-worker"),
    ],
)
def test_a_worker_is_found_by_name_or_address(wanted: str, name: str, address: str) -> None:
    worker = FLEET.worker(wanted)
    assert (worker.name, worker.address, worker.user) == (name, address, "anna")


@pytest.mark.parametrize("slip", ["worker3", "Worker1", "wroker1", "worker"])
def test_a_slip_is_not_taken_for_a_host(slip: str) -> None:
    with pytest.raises(InventoryError, match=f"no worker '{slip}'; did you mean \"worker[12]\""):
        FLEET.worker(slip)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("worker2,worker1", ["worker2", "worker1"]),
        ("worker*", ["worker1", "worker2"]),
        ("worker2, worker?", ["worker2", "worker1"]),
        ("10.0.10.1,worker1", ["worker1"]),
    ],
)
def test_workers_are_chosen_by_name_address_or_glob(pattern: str, names: list[str]) -> None:
    assert [worker.name for worker in FLEET.select_workers(pattern)] == names


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("nope", "no worker 'nope'; there is: worker1, worker2"),
        ("worker1,10.0.10.9", "no worker '10.0.10.9'; there is: worker1, worker2"),
        ("worker9", "no worker 'worker9'; did you mean \"worker[12]\""),
        ("z*", "no worker matches 'z\\*'"),
    ],
)
def test_a_worker_that_is_not_in_the_file_is_refused_with_those_that_are(
    pattern: str, said: str
) -> None:
    """No name service is asked for it: only -H takes any host."""
    with pytest.raises(InventoryError, match=said) as found:
        FLEET.select_workers(pattern)
    assert "worker1, worker2" in str(found.value) or pattern == "z*"


@pytest.mark.parametrize("pattern", [",", "x,", ",x", "x,,y", "x, ,y"])
def test_nothing_beside_a_comma_is_no_name(pattern: str) -> None:
    for select, what in ((FLEET.select, "VM"), (FLEET.select_workers, "worker")):
        with pytest.raises(InventoryError, match=f"no {what} is named beside a comma"):
            select(pattern.replace("x", "w*").replace("y", "w*"))


@pytest.mark.parametrize("nonsense", ["", "-oProxyCommand=x", "a b", "10.0.10.300", "a;b"])
def test_what_can_be_no_host_is_refused(nonsense: str) -> None:
    with pytest.raises(InventoryError, match="there is no worker"):
        FLEET.worker(nonsense)


def test_an_address_with_two_workers_behind_it_does_not_name_one() -> None:
    text = '[workers.a]\naddress = "nat"\nport = 2201\n[workers.b]\naddress = "nat"\nport = 2202'
    inventory = parse(text, source="hosts.toml")
    with pytest.raises(InventoryError, match="'nat' is the address of several workers: a, b"):
        inventory.worker("nat")


@pytest.mark.parametrize(
    ("vm", "at", "worker"),
    [
        pytest.param("web1", None, "worker1", id="its-own"),
        pytest.param("web1", "worker1", "worker1", id="asked-by-name"),
        pytest.param("web1", "10.0.10.1", "worker1", id="asked-by-address"),
        pytest.param("web2", "worker2", "worker2", id="free-vm-goes-where-asked"),
        pytest.param("web2", "10.0.10.9", "10.0.10.9", id="free-vm-on-an-unlisted-host"),
    ],
)
def test_the_worker_of_a_vm(vm: str, at: str | None, worker: str) -> None:
    assert FLEET.worker_of(FLEET.vm(vm), at).name == worker


def test_a_pinned_vm_is_refused_elsewhere() -> None:
    with pytest.raises(InventoryError) as caught:
        FLEET.worker_of(FLEET.vm("web1"), "10.0.10.2")
    assert str(caught.value) == (
        "hosts.toml: VM web1 is pinned to worker worker1, not worker2\n"
        "  leave -H out, or change worker in vms.web1"
    )


def test_a_free_vm_needs_a_word_unless_there_is_one_worker_only() -> None:
    with pytest.raises(InventoryError) as caught:
        FLEET.worker_of(FLEET.vm("web2"))
    assert str(caught.value) == (
        "hosts.toml: nothing says which worker VM web2 is on\n"
        '  say -H WORKER, or worker = "..." in vms.web2'
    )
    alone = parse(
        f'[workers.only]\naddress = "a"\n[vms.vm1]\n{VM_TOML.format(1)}', source="hosts.toml"
    )
    assert alone.worker_of(alone.vm("vm1")).name == "only"


def test_the_lookups_cannot_be_changed_behind_the_inventory() -> None:
    vms: Any = FLEET.vms
    with pytest.raises(TypeError):
        vms["x"] = FLEET.vm("web1")
