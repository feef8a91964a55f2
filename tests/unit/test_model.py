"""Worker, VM and Interface: what is invalid cannot be built, and the message says why."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from vmops.core.inventory.complaints import InvalidValue, show
from vmops.core.inventory.model import VM, Interface, Nic, Settings, Worker
from vmops.errors import InventoryError

DOCUMENTED: dict[str, Any] = {
    "vm_id": 1001,
    "name": "vm1",
    "ram_mb": 512,
    "cores": 1,
    "vnc_port": 5901,
    "qcow_image": "~/vm_images/vm1_img.qcow2",
    "interfaces": [{"name": "eth1", "vlan_id": 101, "mac": "52:54:00:03:e9:01"}],
}


class Loud:
    def __repr__(self) -> str:
        return "\x1b]0;owned\x07"


def a_vm(**changes: Any) -> VM:
    fields = {key: value for key, value in DOCUMENTED.items() if key != "interfaces"}
    return VM(**{**fields, **changes})


def build(model: type, field: str, value: object) -> Any:
    """`model` with one field set; its value as it is kept."""
    required: dict[type, dict[str, Any]] = {
        Interface: {"name": "eth1"},
        VM: {key: value for key, value in DOCUMENTED.items() if key != "interfaces"},
        Worker: {"name": "worker1", "address": "10.0.10.1"},
        Settings: {},
    }
    return getattr(model(**{**required[model], field: value}), field)


@pytest.mark.parametrize(
    ("model", "field", "given", "kept"),
    [
        (Interface, "name", "a" * 63, "a" * 63),
        (Interface, "name", "eth0.100-a_b", "eth0.100-a_b"),
        (Interface, "vlan_id", None, None),
        (Interface, "vlan_id", 1, 1),
        (Interface, "vlan_id", 4094, 4094),
        (Interface, "mac", "", ""),
        (Interface, "mac", "52-54-00-AB-cd-01", "52:54:00:ab:cd:01"),
        (Interface, "model", "virtio", "virtio"),
        (VM, "vm_id", 1, 1),
        (VM, "vm_id", 65535, 65535),
        (VM, "ram_mb", 1, 1),
        (VM, "cores", 255, 255),
        (VM, "vnc_port", 5900, 5900),
        (VM, "vnc_port", 65535, 65535),
        (VM, "qcow_image", "/srv/a b,c'd.qcow2", "/srv/a b,c'd.qcow2"),
        (VM, "qcow_image", "~/x.qcow2", "~/x.qcow2"),
        (VM, "qcow_image", "images/x.qcow2", "~/images/x.qcow2"),
        (VM, "qcow_image", "nbd:host:10809", "~/nbd:host:10809"),
        (VM, "qcow_image", "-x.qcow2", "~/-x.qcow2"),
        (VM, "qcow_image", "/srv/Größe.qcow2", "/srv/Größe.qcow2"),
        (VM, "interfaces", [], ()),
        (VM, "cpu", "host", "host"),
        (VM, "cpu", "Nehalem-v2,+aes,-vmx,migratable=off", "Nehalem-v2,+aes,-vmx,migratable=off"),
        (VM, "cpu", None, None),
        (VM, "disk_model", "virtio", "virtio"),
        (VM, "worker", None, None),
        (Worker, "name", "::1", "::1"),
        (Worker, "address", "worker-1.example.com", "worker-1.example.com"),
        (Worker, "address", "worker_1.", "worker_1."),
        (Worker, "address", f"{'a' * 63}.b", f"{'a' * 63}.b"),
        (Worker, "address", "FE80:0::1%eth0", "fe80::1%eth0"),
        (Settings, "port", 65535, 65535),
        (Settings, "user", "anna@corp.example", "anna@corp.example"),
        (Settings, "identity_file", "~/.ssh/id_ed25519", "~/.ssh/id_ed25519"),
        (Settings, "gateway", "jump", "jump"),
        (Settings, "gateway", "a@one:22, [2001:db8::1]:2222", "a@one:22,[2001:db8::1]:2222"),
        (Settings, "bridge", "b" * 15, "b" * 15),
        (Settings, "accel", "auto", "auto"),
        (Settings, "vnc_listen", "0:0::1", "::1"),
        (Settings, "host_keys", "off", "off"),
    ],
)
def test_a_good_value_is_kept_in_its_normal_form(
    model: type, field: str, given: object, kept: object
) -> None:
    assert build(model, field, given) == kept


@pytest.mark.parametrize(
    ("model", "field", "value", "rule"),
    [
        (Interface, "name", "", "1 to 63"),
        (Interface, "name", "a" * 64, "1 to 63"),
        (Interface, "name", "eth1\n", "1 to 63"),
        (Interface, "name", "-eth1", "the first a letter or a digit"),
        (Interface, "name", "eth 1", "letters, digits"),
        (Interface, "name", "eth1,id=x", "letters, digits"),
        (Interface, "name", "٣", "letters, digits"),
        (Interface, "name", 1, "must be text, not a whole number"),
        (Interface, "vlan_id", 0, "1 to 4094, or left out"),
        (Interface, "vlan_id", 4095, "1 to 4094, or left out"),
        (Interface, "vlan_id", True, "must be a whole number, not true or false"),
        (Interface, "vlan_id", "101", "must be a whole number, not text"),
        (Interface, "mac", "52:54:00:03:e9", "six octets"),
        (Interface, "mac", "52:54:00-03:e9:0g", "six octets"),
        (Interface, "mac", "01:00:5e:00:00:01", "not multicast"),
        (Interface, "mac", "ff:ff:ff:ff:ff:ff", "not multicast"),
        (Interface, "mac", "00:00:00:00:00:00", "not all zero"),
        (Interface, "mac", None, "must be text, not nothing"),
        (Interface, "model", "e1000,romfile=x", 'one of "e1000"'),
        (VM, "name", ".lock", "the first a letter or a digit"),
        (VM, "name", "vm/1", "letters, digits"),
        (VM, "vm_id", 0, "1 to 65535"),
        (VM, "vm_id", 65536, "1 to 65535"),
        (VM, "ram_mb", 0, "1 to 16777216 (MiB)"),
        (VM, "ram_mb", 0.5, "must be a whole number, not a number with a point"),
        (VM, "cores", 0, "1 to 255"),
        (VM, "cores", 256, "1 to 255"),
        (VM, "vnc_port", 5899, "5900 to 65535"),
        (VM, "vnc_port", 65536, "5900 to 65535"),
        (VM, "cpu", "help", "a CPU model"),
        (VM, "cpu", "", "a CPU model"),
        (VM, "cpu", "host,", "a CPU model"),
        (VM, "cpu", "host -device x", "a CPU model"),
        (VM, "cpu", "host,a" * 500, "a CPU model"),
        (VM, "disk_model", "scsi", 'one of "ide", "virtio"'),
        (VM, "qcow_image", "", "the path of a disk image"),
        (VM, "qcow_image", "~", "the path of a disk image"),
        (VM, "qcow_image", "~root/x", "the path of a disk image"),
        (VM, "qcow_image", "/srv/images/", "the path of a disk image"),
        (VM, "qcow_image", "/srv/a\nb", "printable"),
        (VM, "qcow_image", "/srv/a\0b", "printable"),
        (VM, "qcow_image", "/srv/\u202eb", "printable"),
        (VM, "qcow_image", "/srv/\udc80", "printable"),
        (VM, "qcow_image", "/" + "ä" * 2048, "the path of a disk image"),
        (VM, "interfaces", [Interface(f"e{n}") for n in range(25)], "at most 24"),
        (VM, "interfaces", None, "must be a list"),
        (VM, "worker", "", "the name of one of the workers"),
        (Worker, "name", "a b", "or an address"),
        (Worker, "address", "", "a host name or an IP address"),
        (Worker, "address", "-oProxyCommand=x", "a host name or an IP address"),
        (Worker, "address", "ubuntu@10.0.10.1", "without user"),
        (Worker, "address", "10.0.10.1:22", "without user, port"),
        (Worker, "address", "[::1]", "or brackets"),
        (Worker, "address", "10.0.10.256", "an IP address"),
        (Worker, "address", "10.0.10", "an IP address"),
        (Worker, "address", "10.0.10.1%eth0", "an IP address"),
        (Worker, "address", "fe80::1%a;b", "an IP address"),
        (Worker, "address", "a..b", "1 to 63 characters between dots"),
        (Worker, "address", ".a", "1 to 63 characters between dots"),
        (Worker, "address", "a" * 64, "1 to 63 characters between dots"),
        (Worker, "address", f"{'a.' * 127}b", "a host name"),
        (Settings, "gateway", "ubuntu@a..b:22", "several hops"),
        (Settings, "port", 0, "1 to 65535"),
        (Settings, "user", "-l", "the first a letter"),
        (Settings, "user", "a b", "1 to 64"),
        (Settings, "identity_file", "", "the path of a file"),
        (Settings, "gateway", "", "several hops"),
        (Settings, "gateway", "a,,b", "several hops"),
        (Settings, "gateway", "jump:70000", "several hops"),
        (Settings, "gateway", "jump;reboot", "several hops"),
        (Settings, "gateway", "-x@jump", "several hops"),
        (Settings, "gateway", "::1", "several hops"),
        (Settings, "gateway", "[10.0.0.1]:22", "several hops"),
        (Settings, "bridge", "b" * 16, "1 to 15"),
        (Settings, "bridge", "br int", "1 to 15"),
        (Settings, "accel", "hvf", 'one of "kvm", "tcg", "auto"'),
        (Settings, "vnc_listen", "localhost", "an IP address"),
        (Settings, "vnc_listen", "fe80::1%eth0,password", "an IP address"),
        (Settings, "host_keys", "no", 'one of "strict", "accept-new", "off"'),
    ],
)
def test_a_bad_value_is_refused_with_its_rule(
    model: type, field: str, value: object, rule: str
) -> None:
    with pytest.raises(InventoryError) as caught:
        build(model, field, value)
    complaint = str(caught.value)
    assert complaint.startswith(model.__name__)
    assert f"{field}: " in complaint
    assert rule in complaint
    assert complaint.isprintable()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("a\x1b[2J\n", r"'a\x1b[2J\n'", id="text"),
        pytest.param("\u202e\x9b", r"'\u202e\x9b'", id="bidi"),
        pytest.param("a" * 500, "'" + "a" * 27 + "..." + "a" * 28 + "'", id="long"),
        pytest.param(1 << 20_000, "0x100000000000000000...", id="huge"),
        pytest.param({"a": [1 << 20_000]}, "{'a': [0x100000000000000000...]}", id="nested"),
        pytest.param(Loud(), r"\x1b]0;owned\x07", id="repr"),
    ],
)
def test_a_value_is_shown_on_one_short_line_without_control_characters(
    value: object, shown: str
) -> None:
    assert show(value) == shown


def test_all_bad_fields_are_named_at_once() -> None:
    with pytest.raises(InvalidValue) as caught:
        a_vm(vm_id=0, ram_mb="much", vnc_port=80)
    assert [fault.path for fault in caught.value.faults] == [("vm_id",), ("ram_mb",), ("vnc_port",)]
    assert caught.value.complaints[0] == "VM 'vm1': vm_id: 0: must be 1 to 65535"


def test_models_are_frozen() -> None:
    for model in (a_vm(), Interface("eth1"), Worker("w", address="w"), Settings()):
        first = dataclasses.fields(model)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(model, first, "x")


@pytest.mark.parametrize(
    ("interfaces", "complaint"),
    [
        pytest.param(
            [Interface("eth1"), Interface("eth1")],
            "VM 'vm1': interfaces[1].name: 'eth1': must differ from interfaces[0].name",
            id="same-name",
        ),
        pytest.param(
            [Interface("a", mac="52:54:00:00:00:01"), Interface("b", mac="52-54-00-00-00-01")],
            "VM 'vm1': interfaces[1].mac: '52:54:00:00:00:01': must differ from interfaces[0].mac",
            id="same-mac",
        ),
        pytest.param(
            [Interface("a"), Interface("b", mac="52:54:00:03:e9:01")],
            "VM 'vm1': interfaces[1].mac: '52:54:00:03:e9:01': must differ from interfaces[0].mac",
            id="given-mac-is-derived-of-another",
        ),
        pytest.param(
            [{"name": "eth1"}],
            "VM 'vm1': interfaces[0]: {'name': 'eth1'}: must be an Interface",
            id="not-an-interface",
        ),
    ],
)
def test_interfaces_of_a_vm_differ(interfaces: list[Any], complaint: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        a_vm(interfaces=interfaces)
    assert caught.value.complaints == (complaint,)


def test_nics_are_the_interfaces_with_what_the_vm_adds() -> None:
    eth1, spare, management = interfaces = (
        Interface("eth1", vlan_id=101),
        Interface("spare"),
        Interface("management", vlan_id=7, mac="52:54:00:aa:bb:cc", model="virtio"),
    )
    vm = a_vm(interfaces=interfaces)
    assert vm.nics == (
        Nic("eth1", "tap_1001_eth1", "52:54:00:03:e9:01", 101, "e1000", 1, eth1),
        Nic("spare", "tap_1001_spare", "52:54:00:03:e9:02", None, "e1000", 2, spare),
        Nic("management", "tapd938cc52685c", "52:54:00:aa:bb:cc", 7, "virtio", 3, management),
    )
    assert [nic.name for nic in vm.connected] == ["eth1", "management"]


def test_the_uuid_belongs_to_name_and_number() -> None:
    assert a_vm().uuid == a_vm(ram_mb=1024).uuid
    assert len({a_vm().uuid, a_vm(name="vm2").uuid, a_vm(vm_id=7).uuid}) == 3


def test_the_documented_dict_comes_back_as_it_went_in() -> None:
    vm = VM.from_dict(DOCUMENTED)
    assert vm.to_dict() == DOCUMENTED
    assert json.loads(json.dumps(vm.to_dict())) == DOCUMENTED


def test_the_dict_has_a_model_only_where_it_is_not_the_usual_one() -> None:
    vm = a_vm(interfaces=(Interface("a", model="virtio"), Interface("b")), worker="w1")
    assert vm.to_dict()["interfaces"] == [
        {"name": "a", "vlan_id": None, "mac": "", "model": "virtio"},
        {"name": "b", "vlan_id": None, "mac": ""},
    ]
    assert "worker" not in vm.to_dict()
    assert VM.from_dict(vm.to_dict()) == dataclasses.replace(vm, worker=None)


def test_the_older_slice_managers_dict_is_understood() -> None:
    older = {
        "vm_id": 7,
        "name": "s1-vm7",
        "flavor": {"cores": 2, "ram_gb": 0.5, "disk_gb": 3},
        "vnc_port": 5907,
        "qcow_image": "vm_images/s1-vm7.qcow2",
        "interfaces": [{"name": "eth1", "link_id": "l1"}, {"name": "eth2", "mac": None}],
        "owner": "someone",
        "worker_ip": "10.0.10.1",
        "status": "pending",
        "pid": None,
        "ip_config": {},
    }
    assert VM.from_dict(older) == VM(
        "s1-vm7",
        vm_id=7,
        ram_mb=512,
        cores=2,
        vnc_port=5907,
        qcow_image="~/vm_images/s1-vm7.qcow2",
        interfaces=(Interface("eth1"), Interface("eth2")),
    )


def test_documented_keys_win_over_the_flavor() -> None:
    vm = VM.from_dict({**DOCUMENTED, "flavor": {"cores": 8, "ram_gb": 64}})
    assert (vm.cores, vm.ram_mb) == (1, 512)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"vm_id": None}, "VM 'vm1': vm_id: missing: must be 1 to 65535", id="missing"),
        pytest.param({"name": None}, "VM None: name: missing: must be 1 to 63", id="no-name"),
        pytest.param(
            {"interfaces": [{"name": "eth1"}, {"vlan_id": 1}]},
            "VM 'vm1': interfaces[1].name: missing: must be 1 to 63",
            id="interface-without-name",
        ),
        pytest.param(
            {"interfaces": ["eth1"]},
            "VM 'vm1': interfaces[0]: 'eth1': must be a table of keys and values",
            id="interface-no-table",
        ),
        pytest.param(
            {"ram_mb": None, "flavor": {"ram_gb": "0.5"}},
            "VM 'vm1': flavor.ram_gb: '0.5': must be a number of GiB",
            id="flavor-text",
        ),
        pytest.param(
            {"ram_mb": None, "flavor": {"ram_gb": True}},
            "VM 'vm1': flavor.ram_gb: True: must be a number of GiB",
            id="flavor-true",
        ),
        pytest.param(
            {"ram_mb": None, "flavor": {"ram_gb": float("inf")}},
            "VM 'vm1': flavor.ram_gb: inf: must be a number of GiB",
            id="flavor-infinite",
        ),
        pytest.param(
            {"ram_mb": None, "flavor": "small"},
            "VM 'vm1': flavor: 'small': must be a table of keys and values",
            id="flavor-no-table",
        ),
        pytest.param(
            {"ram_mb": None, "flavor": {"ram_gb": 0.0001}},
            "VM 'vm1': ram_mb: 0: must be 1 to 16777216 (MiB)",
            id="flavor-too-small",
        ),
    ],
)
def test_a_bad_dict_is_refused_with_the_key(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InventoryError) as caught:
        VM.from_dict({**DOCUMENTED, **change})
    assert len(caught.value.complaints) == 1
    assert caught.value.complaints[0].startswith(complaint)


@pytest.mark.parametrize("not_a_dict", [None, [], "vm1", {1: 2}])
def test_what_is_no_dict_is_refused(not_a_dict: Any) -> None:
    with pytest.raises(InventoryError, match="must be a table of keys and values"):
        VM.from_dict(not_a_dict)


def test_settings_make_a_worker() -> None:
    settings = Settings(user="anna", port=2222, bridge="br-x")
    assert settings.worker("w1", address="10.0.0.1") == Worker(
        "w1", address="10.0.0.1", user="anna", port=2222, bridge="br-x"
    )


def test_a_worker_that_says_nothing_leaves_it_to_ssh_config() -> None:
    worker = Worker("w1", address="10.0.0.1")
    undecided = ("port", "user", "identity_file", "gateway", "vnc_listen", "known_hosts")
    assert {getattr(worker, key) for key in undecided} == {None}
    assert (worker.bridge, worker.accel, worker.host_keys) == ("br-int", "kvm", "accept-new")
