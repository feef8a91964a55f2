"""hosts.toml: what it may say, and every complaint about it."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from vmops.core.inventory import rules
from vmops.core.inventory.complaints import InvalidValue
from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.inventory.model import VM, Interface, Settings, Worker
from vmops.core.inventory.networks import rules as network_rules
from vmops.core.inventory.rules import Rule
from vmops.errors import InventoryError
from vmops.inventory_file import load

ROOT = Path(__file__).parents[2]


def a_vm(name: str = "vm1", **changes: Any) -> str:
    """A VM's tables in TOML. `interfaces` is a list of lines; None leaves a key out."""
    number = int("".join(filter(str.isdigit, name)) or 0)
    keys = {
        "vm_id": 1000 + number,
        "ram_mb": 512,
        "cores": 1,
        "vnc_port": 5900 + number,
        "qcow_image": f'"~/{name}.qcow2"',
        **changes,
    }
    interfaces = keys.pop("interfaces", [])
    lines = [f"{key} = {value}" for key, value in keys.items() if value is not None]
    tables = [f"[[vms.{name}.interfaces]]\n{interface}" for interface in interfaces]
    return "\n".join([f"[vms.{name}]", *lines, *tables, ""])


WORKERS = dedent("""
    [workers.worker1]
    address = "10.0.10.1"
    [workers.worker2]
    address = "10.0.10.2"
    """)


def complaints(text: str) -> tuple[str, ...]:
    with pytest.raises(InventoryError) as caught:
        parse(text, source="hosts.toml")
    assert all(complaint.isprintable() for complaint in caught.value.complaints)
    return caught.value.complaints


def test_the_sample_is_the_documented_one() -> None:
    inventory = load(ROOT / "hosts.toml")
    assert inventory.vms == {
        "vm1": VM(
            "vm1",
            vm_id=1001,
            ram_mb=512,
            cores=1,
            vnc_port=5901,
            qcow_image="~/vm_images/vm1_img.qcow2",
            interfaces=(Interface("eth1", vlan_id=101, mac="52:54:00:03:e9:01"),),
            worker="worker1",
        )
    }
    assert inventory.workers == {"worker1": Worker("worker1", address="10.0.10.1", user="ubuntu")}
    assert inventory.defaults == Settings(user="ubuntu")


@pytest.mark.parametrize(
    ("table", "key"),
    [
        pytest.param(table, key, id=f"{name}.{key}")
        for name, table in (
            ("worker", rules.WORKER),
            ("vm", rules.VM),
            ("interface", rules.INTERFACE),
            ("several", rules.SEVERAL),
            ("image", rules.IMAGE),
            ("fleet", rules.FLEET),
            ("network", network_rules.NETWORK),
            ("forward", network_rules.FORWARD),
            ("link", network_rules.LINK),
            ("topology", network_rules.TOPOLOGY),
        )
        for key in table
    ],
)
def test_the_reference_has_every_key_with_its_rule(table: dict[str, Rule], key: str) -> None:
    reference = (ROOT / "docs" / "inventory.md").read_text(encoding="utf-8")
    rows = [line for line in reference.splitlines() if line.startswith(f"| `{key}` |")]
    assert any(row.endswith(f"| {table[key].text} |") for row in rows)


def test_the_complaints_in_the_reference_are_real() -> None:
    reference = (ROOT / "docs" / "inventory.md").read_text(encoding="utf-8")
    shown = reference.split("## Complaints")[1].split("```")[1].strip().splitlines()
    text = (
        '[defaults]\nusr = "anna"\n'
        + WORKERS
        + a_vm("vm1", worker='"worker1"', interfaces=['name = "eth1"\nvlan_id = 4095'])
        + a_vm("vm2", worker='"worker1"', vnc_port=5901)
    )
    assert list(complaints(text)) == shown


def test_the_example_in_the_reference_is_valid() -> None:
    reference = (ROOT / "docs" / "inventory.md").read_text(encoding="utf-8")
    example = reference.split("```toml")[1].split("```")[0]
    assert list(parse(example, source="docs").vms) == ["vm1"]


def test_an_empty_file_is_an_inventory_without_anything() -> None:
    inventory = parse("", source="hosts.toml")
    assert (inventory.workers, inventory.vms, inventory.defaults) == ({}, {}, Settings())


def test_a_worker_overrides_the_defaults() -> None:
    text = dedent("""
        [defaults]
        user = "anna"
        accel = "tcg"
        [workers.w1]
        address = "10.0.0.1"
        accel = "auto"
        port = 2222
        [workers.w2]
        address = "10.0.0.2"
        """)
    workers = parse(text, source="hosts.toml").workers
    assert workers["w1"] == Worker("w1", address="10.0.0.1", user="anna", accel="auto", port=2222)
    assert workers["w2"] == Worker("w2", address="10.0.0.2", user="anna", accel="tcg")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            a_vm(interfaces=['name = "eth1"\nvlan_id = 4095']),
            "vms.vm1.interfaces[0].vlan_id: 4095: must be 1 to 4094, or left out for an interface"
            " that is not connected",
            id="value",
        ),
        pytest.param(
            a_vm(interfaces=['name = "eth1"\nvlan = 101']),
            'vms.vm1.interfaces[0].vlan: 101: is not a key here; did you mean "vlan_id"?',
            id="misspelt-key-of-an-interface",
        ),
        pytest.param(
            a_vm(ram_mb=None, Ram_MB=512),
            'vms.vm1.Ram_MB: 512: is not a key here; did you mean "ram_mb"?',
            id="misspelt-required-key-is-not-missing-too",
        ),
        pytest.param(
            a_vm(ram_mb=None),
            "vms.vm1.ram_mb: missing: must be 1 to 16777216 (MiB)",
            id="missing-key",
        ),
        pytest.param(
            a_vm(zzz=1),
            "vms.vm1.zzz: 1: is not a key here; there is: image, disk, disk_gb, disks, cpu,"
            " disk_model, cloud_init, boot, iso, machine, extra_args, interfaces, ...",
            id="unknown-key-with-nothing-close",
        ),
        pytest.param(
            a_vm(ram_mb='"512"'),
            "vms.vm1.ram_mb: '512': must be a whole number, not text: 1 to 16777216 (MiB)",
            id="wrong-type",
        ),
        pytest.param(
            a_vm(cores="1979-05-27"),
            "vms.vm1.cores: datetime.date(1979, 5, 27): must be a whole number, not date: 1 to 255",
            id="date",
        ),
        pytest.param(
            a_vm(vm_id="0x" + "f" * 5000),
            "vms.vm1.vm_id: 0xffffffffffffffffff...: must be 1 to 65535",
            id="number-that-python-will-not-print",
        ),
        pytest.param(
            a_vm(interfaces=[]) + "[vms.vm1.interfaces]\nname = 'eth1'",
            "vms.vm1.interfaces: {'name': 'eth1'}: must be a list, not a table: at most 24"
            " interfaces (in TOML, [[vms.NAME.interfaces]] above each)",
            id="one-bracket-too-few",
        ),
        pytest.param(
            "[vms]\nvm1 = 5", "vms.vm1: 5: must be a table of keys and values", id="vm-is-no-table"
        ),
        pytest.param(
            "vms = []", "vms: []: must be a table of keys and values", id="section-is-no-table"
        ),
        pytest.param(
            "[default]", 'default: is not a section; did you mean "defaults"?', id="section"
        ),
        pytest.param(
            '[defaults]\naddress = "10.0.0.1"',
            "defaults.address: '10.0.0.1': is not a key here; there is: port, user, identity_file,"
            " gateway, bridge, accel, vnc_listen, host_keys, known_hosts,"
            " uplink, shared_images, link_vlans, ...",
            id="address-for-all",
        ),
        pytest.param(
            "[workers.w1]",
            "workers.w1.address: missing: must be a host name or an IP address, without user, port"
            " or brackets; 1 to 63 characters between dots",
            id="worker-without-address",
        ),
        pytest.param(
            '[workers."a\\u001b[31m"]\naddress = "a"',
            r"workers.'a\x1b[31m': the name must be 1 to 63 letters, digits, '.', '_' and '-', the"
            " first a letter or a digit, or an address",
            id="name-that-colours-the-terminal",
        ),
        pytest.param(
            WORKERS + a_vm(worker='"worker3"'),
            "vms.vm1.worker: 'worker3': is not a worker; did you mean \"worker2\"?",
            id="unknown-worker",
        ),
        pytest.param(
            '[workers.w1]\naddress = "a"\n[workers.w2]\naddress = "A"',
            "workers.w2.address: 'A': must differ from workers.w1.address: one host",
            id="one-host-under-two-names",
        ),
        pytest.param(
            '[workers.w1]\naddress = "10.0.0.1"\n[workers."10.0.0.1"]\naddress = "10.0.0.2"',
            "workers.'10.0.0.1': '10.0.0.1': must not be the address of another worker, w1",
            id="worker-named-as-the-address-of-another",
        ),
        pytest.param(
            "[vms.vm1",
            "this is not TOML: Expected ']' at the end of a table declaration (at end of document)",
            id="syntax",
        ),
        pytest.param(
            "[a]\nb = \x1b",
            "this is not TOML: Invalid value (at line 2, column 5)",
            id="syntax-with-its-line",
        ),
        pytest.param(
            "a = " + "[" * 5000, "this is not TOML: it is nested too deeply", id="nested-too-deeply"
        ),
    ],
)
def test_a_fault_is_told_with_file_key_path_value_and_rule(text: str, expected: str) -> None:
    assert complaints(text) == (f"hosts.toml: {expected}",)


@pytest.mark.parametrize("key", ["ram_mb", "cores", "qcow_image"])
def test_a_vm_has_to_say_everything_that_has_no_default(key: str) -> None:
    expected = f"hosts.toml: vms.vm1.{key}: missing: must be {rules.VM[key].text}"
    without: dict[str, Any] = {key: None}
    assert complaints(a_vm(**without)) == (expected,)


def test_what_there_is_instead_is_shown_without_control_characters() -> None:
    name, unknown = complaints('[workers."a\\u001bb"]\naddress = "x"\n' + a_vm(worker='"z"'))
    assert name.startswith(r"hosts.toml: workers.'a\x1bb': the name must be")
    assert unknown == r"hosts.toml: vms.vm1.worker: 'z': is not a worker; there is: a\x1bb"


def test_all_faults_of_a_file_come_at_once() -> None:
    text = (
        '[defaults]\naccel = "hvf"\n[wokers]\n[workers.w1]\nadress = "10.0.0.1"\n'
        + a_vm("vm1", worker='"w1"', cores=0)
        + a_vm("vm2", worker='"w9"', vnc_port=5901, interfaces=["vlan_id = 0"])
        + a_vm("vm3", qcow_image='"/vm3"', vnc_port=5901)
    )
    assert [complaint.split(": ")[1] for complaint in complaints(text)] == [
        "wokers",
        "defaults.accel",
        "workers.w1.adress",
        "vms.vm1.cores",
        "vms.vm2.interfaces[0].name",
        "vms.vm2.interfaces[0].vlan_id",
        "vms.vm2.worker",
        "vms.vm3.vnc_port",
    ]


def test_taps_that_collide_by_their_hash_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "vmops.core.inventory.conflicts.tap_name", lambda vm_id, interface: "tap0123456789ab"
    )
    text = a_vm("vm1", interfaces=['name = "a"']) + a_vm("vm2", interfaces=['name = "b"'])
    assert complaints(text) == (
        "hosts.toml: vms.vm2.interfaces[0].name: TAP 'tap0123456789ab': must differ from"
        " vms.vm1.interfaces[0].name: both can be on one worker",
    )


def test_an_inventory_built_by_hand_is_held_to_the_same() -> None:
    fields: dict[str, Any] = {"vm_id": 1, "ram_mb": 1, "cores": 1, "qcow_image": "/x"}
    with pytest.raises(InvalidValue) as caught:
        Inventory(
            defaults=Settings(),
            workers={"w": Worker("v", address="v")},
            vms={
                "a": VM("a", vnc_port=5900, worker="gone", **fields),
                "b": VM("b", vnc_port=5900, **fields),
            },
            source="mine",
        )
    assert [str(complaint) for complaint in caught.value.complaints] == [
        "mine: workers.w: must be the name of what it holds, 'v'",
        "mine: vms.a.worker: 'gone': is not a worker; there is: w",
        "mine: vms.b.vm_id: 1: must differ from vms.a.vm_id: both can be on one worker",
        "mine: vms.b.vnc_port: 5900: must differ from vms.a.vnc_port: both can be on one worker",
        "mine: vms.b.qcow_image: disk '/x': must differ from vms.a.qcow_image:"
        " both can be on one worker",
    ]
