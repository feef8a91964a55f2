"""hosts.toml's JSON schema says what the rules say, as far as it can, and never more."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from vmops.core.inventory import rules
from vmops.core.inventory.hosts_toml import read_hosts_toml
from vmops.core.inventory.networks import rules as network_rules
from vmops.core.inventory.schema import schema

from .test_inventory_properties import KNOWN_KEYS, SCALARS, TEXT, trees, vm_tables

ROOT = Path(__file__).parents[2]
SCHEMA = schema()
WHOLE_FILE = Draft7Validator(SCHEMA)

TABLES = {
    "defaults": ({**rules.SETTINGS, **rules.FLEET}, SCHEMA["properties"]["defaults"]),
    "networks": (network_rules.NETWORK, SCHEMA["properties"]["networks"]["additionalProperties"]),
    "workers": (rules.WORKER, SCHEMA["properties"]["workers"]["additionalProperties"]),
    "vms": (
        {**rules.VM, **rules.SEVERAL},
        SCHEMA["properties"]["vms"]["additionalProperties"],
    ),
    "images": (rules.IMAGE, SCHEMA["properties"]["images"]["additionalProperties"]),
    "vm_defaults": (rules.SHARED, SCHEMA["properties"]["vm_defaults"]),
    "templates": (rules.SHARED, SCHEMA["properties"]["templates"]["additionalProperties"]),
}
TABLES["disks"] = (rules.DISK, TABLES["vms"][1]["properties"]["disks"]["items"])
TABLES["links"] = (network_rules.LINK, SCHEMA["properties"]["links"]["items"])
TABLES["topologies"] = (
    network_rules.TOPOLOGY,
    SCHEMA["properties"]["topologies"]["additionalProperties"],
)
TABLES["interfaces"] = (rules.INTERFACE, TABLES["vms"][1]["properties"]["interfaces"]["items"])

NAMED = ("workers", "networks", "topologies", "images", "vms")
"""Tables whose name stands in their heading."""

LOOSE = {
    "link_vlans": "the order of its ends",
    "identity_file": "printable characters, bytes",
    "file": "printable characters, bytes",
    "url": "printable characters, no user in it",
    "known_hosts": "printable characters, bytes",
    "gateway": "hops",
    "vnc_listen": "addresses",
    "address": "addresses",
    "dns": "addresses, each once",
    "encap_ip": "addresses",
    "qcow_image": "printable characters, bytes",
    "iso": "printable characters, bytes",
    "disks": "its items are looked at by themselves",
    "interfaces": "its items are looked at by themselves",
    "forward": "its items are looked at by themselves",
    "subnet": "addresses",
    "range": "addresses",
}
"""Keys whose rule JSON Schema can say in part only, and what it leaves out."""

KEYS = [
    pytest.param(rule, Draft7Validator(table["properties"][key]), key, id=f"{name}.{key}")
    for name, (known, table) in TABLES.items()
    for key, rule in known.items()
    if key in table["properties"]
]
NEAR = st.one_of(
    st.sampled_from([*rules.MODELS, *rules.ACCELERATORS, *rules.HOST_KEYS, *rules.IMAGE_FORMATS]),
    st.sampled_from(["http://h/x", "HTTPS://h", "https://u@h/x", "file:///x", "a" * 64, "A" * 64]),
    st.sampled_from(
        ["52:54:00:00:00:0A", "52-54-00-00-00-0a", "00:00:00:00:00:00", "", "127.0.0.1"]
    ),
    st.integers(-1, 5910),
    st.integers(65530, 65540),
    st.lists(st.integers(), max_size=rules.MAX_INTERFACES + 1),
    st.lists(st.sampled_from(["10.0.0.1", "FD00:0::1", "::ffff:10.0.0.1", "1"]), max_size=9),
    st.sampled_from(["10.0.0.5/24", "10.0.0.5/255.255.255.0", "fd00::5/64", "::ffff:1.2.3.4/128"]),
    st.from_regex(r"[A-Za-z0-9~/][A-Za-z0-9._/-]{0,64}", fullmatch=True),
)


def test_the_file_is_of_the_rules_that_hold() -> None:
    written = (ROOT / "docs" / "hosts.schema.json").read_text(encoding="utf-8")
    assert json.loads(written) == json.loads(json.dumps(SCHEMA)), "run scripts/schema"


def test_it_is_a_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)


def test_the_sample_names_it_for_editors_and_follows_it() -> None:
    sample = (ROOT / "hosts.toml").read_text(encoding="utf-8")
    directive, path = sample.splitlines()[0].split()
    assert directive == "#:schema"
    assert json.loads((ROOT / path).read_text(encoding="utf-8")) == json.loads(json.dumps(SCHEMA))
    assert list(WHOLE_FILE.iter_errors(tomllib.loads(sample))) == []


@pytest.mark.parametrize("table", TABLES)
def test_it_has_every_key_and_what_each_must_be(table: str) -> None:
    known, said = TABLES[table]
    names = {"name"} if table in NAMED else set()
    assert set(said["properties"]) == set(known) - names
    assert not said["additionalProperties"]
    for key in said["properties"]:
        assert said["properties"][key]["description"] == f"must be {known[key].text}"


@pytest.mark.parametrize(("rule", "check", "key"), KEYS)
@given(value=SCALARS | NEAR)
def test_what_a_rule_accepts_the_schema_accepts(
    rule: rules.Rule, check: Draft7Validator, key: str, value: object
) -> None:
    if key not in ("interfaces", "disks", "forward") and rule.objection(value) is None:
        assert list(check.iter_errors(value)) == []


@pytest.mark.parametrize(
    ("rule", "check", "key"), [param for param in KEYS if param.values[2] not in LOOSE]
)
@given(value=SCALARS | NEAR)
def test_what_the_schema_accepts_the_rule_accepts(
    rule: rules.Rule, check: Draft7Validator, key: str, value: object
) -> None:
    """But for what is so in this validator alone: `$` matches before a last newline too, and a
    number that Python does not print cannot be refused; and 1.0 is an integer for JSON Schema."""
    if isinstance(value, float) or (isinstance(value, str) and value.endswith("\n")):
        return
    if isinstance(value, int) and value.bit_length() > 1000:
        return
    if check.is_valid(value):
        assert rule.objection(value) is None


@given(trees(KNOWN_KEYS) | trees(TEXT) | vm_tables())
def test_a_file_without_a_fault_follows_it(tree: dict[str, Any]) -> None:
    if not read_hosts_toml(tree).faults:
        assert list(WHOLE_FILE.iter_errors(tree)) == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[default]", []),
        ("[vms.vm1]\nvm_id = 0", ["vms", "vm1"]),
        ("[vm_defaults]\nvm_id = 1", ["vm_defaults"]),
        ("[workers.w1]\nadress = 'a'", ["workers", "w1"]),
        ("[workers.'a b']\naddress = 'a'", ["workers"]),
        ("[images.a]", ["images", "a"]),
        ("[images.a]\nurl = 'https://h/x'", ["images", "a"]),
        ("[vms.vm1]\ninterfaces = [{ name = 'eth1', vlan_id = 4095 }]", ["vms", "vm1"]),
    ],
)
def test_an_editor_marks_what_the_rules_refuse(text: str, path: list[str]) -> None:
    tree = tomllib.loads(text)
    assert read_hosts_toml(tree).faults
    errors = list(WHOLE_FILE.iter_errors(tree))
    assert errors
    assert all(list(error.path)[: len(path)] == path for error in errors)
