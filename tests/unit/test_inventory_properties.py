"""Whatever somebody writes is refused with a message, or kept and harmless."""

from __future__ import annotations

import datetime
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vmops.core.inventory import rules
from vmops.core.inventory.complaints import key_path, show
from vmops.core.inventory.hosts_toml import read_hosts_toml
from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.inventory.model import VM, Interface, Settings, Worker
from vmops.core.names import derived_mac
from vmops.errors import InventoryError

HOSTILE = (
    "vm1; reboot",
    "$(reboot)",
    "`reboot`",
    "vm1 && reboot",
    "vm1\nreboot",
    "vm1\0",
    "'",
    '"',
    "\\",
    "-rf",
    "--help",
    "../../etc/passwd",
    "..",
    ".",
    "~root/x",
    "vm1,id=x",
    "x,,y",
    "file=/etc/shadow",
    "json:{}",
    "nbd:127.0.0.1:1",
    ".*",
    "vm[0-9]+",
    "(",
    "*",
    "\x1b[31mred",
    "\x9b2J",
    "a\u202eb",
    "a\u2028b",
    "٣",
    "ﬁ",
    "K",
    "\udc80",
    "a" * 4096,
)
TEXT = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(),
    st.text(st.characters(exclude_categories=[])),
    st.text("ab1._-~/:,=@% '\"\\$`;&|*[](){}<>!#\n\t\0", max_size=70),
)
SCALARS = st.one_of(
    TEXT,
    st.integers(),
    st.integers(-(1 << 20_000), 1 << 20_000),
    st.booleans(),
    st.floats(),
    st.dates(),
    st.just(datetime.datetime(1979, 5, 27)),
)
FIELDS = [
    *((Interface, key) for key in rules.INTERFACE),
    *((VM, key) for key in rules.VM),
    *((Settings, key) for key in rules.SETTINGS),
    *((Worker, key) for key in ("name", "address")),
]
GOOD: dict[type, dict[str, Any]] = {
    Interface: {"name": "eth1"},
    VM: {
        "name": "vm1",
        "vm_id": 1,
        "ram_mb": 1,
        "cores": 1,
        "vnc_port": 5900,
        "qcow_image": "/x",
    },
    Settings: {},
    Worker: {"name": "w1", "address": "10.0.0.1"},
}

NEEDS: dict[str, dict[str, Any]] = {"iso": {"boot": "cdrom"}, "jitter_ms": {"delay_ms": 10_000}}
"""What a field is refused without, whatever its value."""


def attempt(build: Callable[..., Any], *args: object, **fields: object) -> Any:
    """What `build` gives, or the InventoryError that it raises; anything else is a failed test."""
    try:
        return build(*args, **fields)
    except InventoryError as error:
        refusal = error
    assert refusal.complaints
    assert all(complaint.isprintable() for complaint in refusal.complaints)
    return refusal


def refused(result: object) -> bool:
    return isinstance(result, InventoryError)


@pytest.mark.parametrize(
    ("model", "field"), FIELDS, ids=[f"{model.__name__}.{field}" for model, field in FIELDS]
)
@given(value=SCALARS)
def test_any_value_is_refused_with_its_path_or_kept_in_a_stable_form(
    model: type, field: str, value: object
) -> None:
    fields = {**GOOD[model], **NEEDS.get(field, {}), field: value}
    built = attempt(model, **fields)
    if refused(built):
        assert [fault.path for fault in built.faults] == [(field,)]
        assert f"{field}: {show(value)}: must be " in str(built)
    else:
        assert model(**{key: getattr(built, key) for key in fields}) == built


@given(value=TEXT)
@pytest.mark.parametrize(
    ("model", "field"),
    [(VM, "name"), (VM, "worker"), (Interface, "name"), (Settings, "bridge")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_an_accepted_name_is_plain_everywhere(model: type, field: str, value: str) -> None:
    if refused(attempt(model, **{**GOOD[model], field: value})):
        return
    assert shlex.quote(value) == value
    assert re.fullmatch(r"[A-Za-z0-9._-]+", value)
    assert value[0] not in ".-_"
    assert value == value.strip()


@given(TEXT)
@example("nbd:127.0.0.1:1")
@example("json:{}")
def test_an_accepted_image_is_an_absolute_path_or_below_the_home(image: str) -> None:
    vm = attempt(VM, **{**GOOD[VM], "qcow_image": image})
    if refused(vm):
        return
    kept = vm.qcow_image
    assert kept.startswith(("/", "~/"))
    assert kept.isprintable()
    assert kept.endswith(image)


@given(TEXT)
def test_an_accepted_address_is_one_word_that_no_tool_takes_for_an_option(address: str) -> None:
    worker = attempt(Worker, "w1", address=address)
    if not refused(worker):
        assert re.fullmatch(r"[A-Za-z0-9_:][A-Za-z0-9._:%-]*", worker.address)


INTERFACES = st.lists(
    st.builds(
        Interface,
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True),
        vlan_id=st.none() | st.integers(1, 4094),
        mac=st.just("")
        | st.from_regex(r"[0-9a-fA-F][02468aceACE]([:-][0-9a-f]{2}){5}", fullmatch=True).filter(
            lambda mac: set(mac) & set("123456789abcdefABCDEF")
        ),
        model=st.sampled_from(rules.MODELS),
    ),
    max_size=rules.MAX_INTERFACES,
    unique_by=(lambda interface: interface.name, lambda interface: interface.mac or interface.name),
)


@given(st.integers(1, 65535), INTERFACES)
def test_a_vm_survives_its_dict_and_its_nics_differ(
    vm_id: int, interfaces: list[Interface]
) -> None:
    vm = attempt(VM, **{**GOOD[VM], "vm_id": vm_id, "interfaces": interfaces})
    if refused(vm):
        given = {interface.mac for interface in interfaces}
        assert given & {derived_mac(vm_id, position) for position in range(1, 25)}
        return
    assert VM.from_dict(vm.to_dict()) == vm
    assert len({nic.tap for nic in vm.nics}) == len({nic.mac for nic in vm.nics}) == len(vm.nics)
    assert all(len(nic.tap.encode()) <= 15 for nic in vm.nics)


def trees(keys: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """What tomllib can give: tables of scalars, lists and tables."""
    branches = st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )
    return st.dictionaries(keys, branches, max_size=4)


KNOWN_KEYS = st.sampled_from(
    [
        *("defaults", "workers", "images", "vms", "vm1", "w1", "flavor", "ram_gb"),
        *rules.WORKER,
        *rules.VM,
        *rules.INTERFACE,
        *rules.IMAGE,
    ]
)


def vm_tables() -> st.SearchStrategy[dict[str, Any]]:
    """Nearly right tables, so that faults deep inside and conflicts are reached."""
    interface = st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["eth1", "management"]) | SCALARS,
            "vlan_id": st.integers(0, 4095) | SCALARS,
            "mac": st.sampled_from(["52:54:00:00:01:01", ""]) | SCALARS,
            "address": st.sampled_from(["10.0.0.5/24", "10.0.0.5", "fd00::5/64"]) | SCALARS,
            "gateway": st.sampled_from(["10.0.0.1", "10.0.0.5", "fe80::1"]) | SCALARS,
            "dns": st.lists(st.sampled_from(["10.0.0.1", "fd00::1"]) | SCALARS, max_size=3),
            "dhcp": st.booleans() | SCALARS,
        },
    )
    vm = st.fixed_dictionaries(
        {},
        optional={
            "vm_id": st.integers(1, 3) | SCALARS,
            "ram_mb": st.integers(1, 3) | SCALARS,
            "cores": st.integers(1, 3) | SCALARS,
            "vnc_port": st.integers(5900, 5902) | SCALARS,
            "qcow_image": st.sampled_from(["/x", "x", "~/x"]) | SCALARS,
            "worker": st.sampled_from(["w1", "w2"]) | SCALARS,
            "interfaces": st.lists(interface | SCALARS, max_size=3) | SCALARS,
        },
    )
    worker = st.fixed_dictionaries({}, optional={"address": st.sampled_from(["a", "b"]) | TEXT})
    image = st.fixed_dictionaries(
        {},
        optional={
            "file": st.just("a.qcow2") | SCALARS,
            "url": st.just("https://192.0.2.1/a") | SCALARS,
            "sha256": st.just("0" * 64) | SCALARS,
            "format": st.sampled_from(rules.IMAGE_FORMATS) | SCALARS,
        },
    )
    return st.fixed_dictionaries(
        {},
        optional={
            "images": st.dictionaries(st.just("debian") | TEXT, image, max_size=3),
            "workers": st.dictionaries(st.sampled_from(["w1", "w2"]) | TEXT, worker, max_size=3),
            "vms": st.dictionaries(st.sampled_from(["vm1", "vm2"]) | TEXT, vm, max_size=3),
        },
    )


@given(trees(KNOWN_KEYS) | trees(TEXT) | vm_tables())
def test_any_tree_is_read_to_printable_faults_or_to_an_inventory(tree: dict[str, Any]) -> None:
    hosts = read_hosts_toml(tree)
    for fault in hosts.faults:
        assert str(fault).isprintable()
        assert str(fault).startswith(key_path(fault.path))
    if not hosts.faults:
        inventory = build(tree)
        assert set(inventory.vms) == set(tree.get("vms", {}))
        assert set(inventory.workers) == set(tree.get("workers", {}))
        assert set(inventory.images) == set(tree.get("images", {}))
        assert held_to_the_rules_again(inventory) == inventory


def held_to_the_rules_again(read: Inventory) -> Inventory:
    """The same by the public constructors, which check what they are given."""
    vms = {
        name: replace(vm, interfaces=tuple(replace(interface) for interface in vm.interfaces))
        for name, vm in read.vms.items()
    }
    images = {name: replace(image) for name, image in read.images.items()}
    return replace(read, vms=vms, images=images)


def build(tree: dict[str, Any]) -> Inventory:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tomllib.loads", lambda text: tree)
        return parse("", source="hosts.toml")


LINES = (
    "[vms.a]\n",
    "[[vms.a.interfaces]]\n",
    "[workers.w]\n",
    'address="x"\n',
    "vm_id=1\n",
    "vms={a={}}\n",
    "a.b=1\n",
    "[vms]\n",
    "x=1e999\n",
    "y=nan\n",
    "z=07:32:00\n",
)


@given(
    st.text()
    | st.text("[]{}=.,\"'\\#\n ab1-:_T+exo", max_size=60)
    | st.lists(st.sampled_from(LINES), max_size=8).map("".join)
)
@example("x = " + "9" * 5000)
@example("x = " + "{a=" * 5000)
def test_any_text_is_an_inventory_or_an_inventory_error(text: str) -> None:
    result = attempt(parse, text, source="hosts.toml")
    if refused(result):
        assert all(complaint.startswith("hosts.toml: ") for complaint in result.complaints)


@given(st.dictionaries(KNOWN_KEYS, SCALARS | st.none() | trees(KNOWN_KEYS), max_size=8))
def test_any_dict_is_a_vm_or_an_inventory_error(vm_dict: dict[str, Any]) -> None:
    vm = attempt(VM.from_dict, vm_dict)
    if not refused(vm):
        assert VM.from_dict(vm.to_dict()) == vm


LISTED = parse('[workers.w1]\naddress = "10.0.0.1"\n[vms]\n', source="hosts.toml")


@given(TEXT)
def test_any_word_for_a_worker_or_a_vm_is_found_or_refused(word: str) -> None:
    assert refused(attempt(LISTED.vm, word))
    assert refused(attempt(LISTED.select, word))
    worker = attempt(LISTED.worker, word)
    assert refused(worker) or worker.name in ("w1", worker.address)
