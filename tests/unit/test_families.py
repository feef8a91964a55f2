"""hosts.toml's shorthand: defaults and templates of VMs, counts, and numbers from names."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.inventory import rules
from vmops.core.inventory.hosts_toml import read_hosts_toml
from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.inventory.model import VM, Interface
from vmops.core.names import MAX_VM_ID, derived_vm_id

from .test_inventory import ROOT, complaints

REST = """
ram_mb = 1
cores = 1
vnc_port = 5901
qcow_image = "/x"
"""


def read(text: str) -> Inventory:
    return parse(dedent(text), source="hosts.toml")


def test_a_vm_takes_what_it_does_not_say_from_its_template_then_from_the_defaults() -> None:
    listed = read("""
        [vm_defaults]
        ram_mb = 512
        cores = 1
        qcow_image = "/a"
        [[vm_defaults.interfaces]]
        name = "eth0"
        vlan_id = 1
        [templates.router]
        ram_mb = 256
        interfaces = [{ name = "a", vlan_id = 2 }, { name = "b", vlan_id = 3 }]
        [vms.plain]
        vm_id = 1
        vnc_port = 5901
        [vms.r1]
        template = "router"
        vm_id = 2
        vnc_port = 5902
        qcow_image = "b"
        cores = 2
        """)
    assert listed.vms == {
        "plain": VM(
            "plain",
            vm_id=1,
            ram_mb=512,
            cores=1,
            vnc_port=5901,
            qcow_image="/a",
            interfaces=(Interface("eth0", vlan_id=1),),
        ),
        "r1": VM(
            "r1",
            vm_id=2,
            ram_mb=256,
            cores=2,
            vnc_port=5902,
            qcow_image="~/b",
            interfaces=(Interface("a", vlan_id=2), Interface("b", vlan_id=3)),
        ),
    }
    assert {key: value for (_, vm, key), value in listed.origins.items() if vm == "r1"} == {
        "ram_mb": "[templates.router]",
        "interfaces": "[templates.router]",
        "interfaces.0.model": "built in",
        "interfaces.1.model": "built in",
    }
    assert listed.origins["vms", "plain", "cores"] == "[vm_defaults]"


def test_a_count_makes_numbered_vms_whose_numbers_and_macs_count_up() -> None:
    hosts = read_hosts_toml(
        {
            "vms": {
                "web": {
                    "count": 3,
                    "vm_id": 255,
                    "ram_mb": 1,
                    "cores": 1,
                    "vnc_port": 5901,
                    "qcow_image": "/{name}",
                    "interfaces": [{"name": "a", "mac": "52:54:00:00:00:fe"}, {"name": "b"}],
                }
            }
        }
    )
    assert hosts.faults == []
    assert [
        (name, vm["vm_id"], vm["vnc_port"], vm["qcow_image"]) for name, vm in hosts.vms.items()
    ] == [
        ("web1", 255, 5901, "/web1"),
        ("web2", 256, 5902, "/web2"),
        ("web3", 257, 5903, "/web3"),
    ]
    assert [vm["interfaces"][0]["mac"] for vm in hosts.vms.values()] == [
        "52:54:00:00:00:fe",
        "52:54:00:00:00:ff",
        "52:54:00:00:01:00",
    ]
    assert hosts.origins["vms", "web2", "vm_id"] == "counted up from [vms.web]"


def test_a_vm_id_that_is_left_out_is_from_the_name_and_stays() -> None:
    listed = read(f"[vms.vm1]{REST}")
    assert listed.vms["vm1"].vm_id == derived_vm_id("vm1") == VM1_ID
    assert listed.origins["vms", "vm1", "vm_id"] == "derived from the name"


VM1_ID = 35715
"""Written down: another number would give every such VM new TAPs, MACs and a new UUID."""


@given(st.text(min_size=1))
def test_a_number_from_a_name_is_a_good_one(name: str) -> None:
    assert 1 <= derived_vm_id(name.encode(errors="replace").decode()) <= MAX_VM_ID


@pytest.mark.parametrize("given_first", [True, False])
def test_a_clash_of_such_a_number_names_a_free_one(given_first: bool) -> None:
    given_vm = f"[vms.other]\nvm_id = {VM1_ID}{REST}".replace("/x", "/y").replace("5901", "5902")
    derived = f"[vms.vm1]{REST}"
    both = [given_vm, derived] if given_first else [derived, given_vm]
    second, first = ("vm1", "other") if given_first else ("other", "vm1")
    assert complaints("".join(both)) == (
        f"hosts.toml: vms.{second}.vm_id: {VM1_ID}: must differ from vms.{first}.vm_id: both can be"
        " on one worker: the vm_id of vm1 is from its name; vm_id = 1001 is free",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "[vm_defaults]\nram_mb = 0\ncores = 1\nqcow_image = '/x'\n"
            "[vms.a]\nvnc_port = 5901\n[vms.b]\nvnc_port = 5902\nqcow_image = '/b'",
            ["vm_defaults.ram_mb: 0: must be 1 to 16777216 (MiB)"],
            id="a-bad-default-is-told-once",
        ),
        pytest.param(
            "[vm_defaults]\nvm_id = 1\nvnc_port = 5901",
            [
                "vm_defaults.vm_id: 1: is not a key here; there is: ram_mb, cores, qcow_image,"
                " image, disk, disk_gb, disks, cpu, disk_model, cloud_init, boot, iso, ...",
                "vm_defaults.vnc_port: 5901: is not a key here; there is: ram_mb, cores,"
                " qcow_image, image, disk, disk_gb, disks, cpu, disk_model, cloud_init, boot, iso,"
                " ...",
            ],
            id="what-differs-from-vm-to-vm-is-no-default",
        ),
        pytest.param(
            "[templates.big]\nram_mb = 1\n[vms.a]\ntemplate = 'bigg'",
            ["vms.a.template: 'bigg': is no template; did you mean \"big\"?"],
            id="unknown-template",
        ),
        pytest.param(
            "[templates.big]\nram_mb = 1\ninterfaces = [{ vlan_id = 1 }]",
            [
                "templates.big.interfaces[0].name: missing: must be "
                + rules.INTERFACE["name"].text,
            ],
            id="interface-of-a-template",
        ),
        pytest.param(
            f"[vms.a]\ncount = 2\nvm_id = 65535{REST}".replace("/x", "/{name}"),
            ["vms.a.count: 2: gives a2 the vm_id 65536: must be 1 to 65535"],
            id="counts-too-far",
        ),
        pytest.param(
            f"[vms.a]\ncount = 0{REST}",
            [
                "vms.a.count: 0: must be 1 to 1000 VMs, which get the name with a number from 1"
                " behind it"
            ],
            id="none",
        ),
    ],
)
def test_faults_are_told_where_they_are_written(text: str, said: list[str]) -> None:
    assert list(complaints(text)) == [f"hosts.toml: {one}" for one in said]


def test_a_name_that_is_counted_to_is_taken() -> None:
    said, *_ = complaints(f"[vms.a]\ncount = 2{REST}[vms.a2]{REST}")
    assert said == "hosts.toml: vms.a2: makes a VM 'a2', and so does vms.a"


def test_the_example_in_the_reference_is_four_vms() -> None:
    reference = (ROOT / "docs" / "inventory.md").read_text(encoding="utf-8")
    example = reference.split("### Many VMs")[1].split("```toml")[1].split("```")[0]
    listed = read(example + '\n[workers.worker1]\naddress = "192.0.2.1"')
    assert [(vm.name, vm.ram_mb, len(vm.interfaces)) for vm in listed.vms.values()] == [
        ("web1", 512, 1),
        ("web2", 512, 1),
        ("web3", 512, 1),
        ("r1", 256, 2),
    ]
    assert listed.vms["web2"].qcow_image == "~/vm_images/web2.qcow2"


SHARED_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "ram_mb": st.integers(1, 9),
    "cores": st.integers(1, 9),
    "qcow_image": st.sampled_from(["/a", "/b"]),
    "interfaces": st.just([{"name": "eth1"}]),
}
TABLE = st.fixed_dictionaries({}, optional=SHARED_VALUES)


@given(defaults=TABLE, template=TABLE, own=TABLE)
def test_a_file_in_shorthand_is_the_file_written_out(
    defaults: dict[str, Any], template: dict[str, Any], own: dict[str, Any]
) -> None:
    short = {
        "vm_defaults": defaults,
        "templates": {"t": template},
        "vms": {"a": {"template": "t", "vm_id": 7, "vnc_port": 5901, **own}},
    }
    long = {"vms": {"a": {"vm_id": 7, "vnc_port": 5901, **defaults, **template, **own}}}
    read_short, read_long = read_hosts_toml(short), read_hosts_toml(long)
    assert read_short.vms == read_long.vms
    assert read_short.faults == read_long.faults
