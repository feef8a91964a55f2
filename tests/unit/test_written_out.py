"""The inventory as it is understood: everything written out, with where it came from."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import fabric
import pytest
from invoke.context import Context

from vmops.core.inventory.inventory import Inventory, parse
from vmops.core.inventory.written_out import as_json, as_toml
from vmops.tasks.inventory import inventory

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "inventory.md").read_text(encoding="utf-8").split("### Many VMs")[1]
EXAMPLE = REFERENCE.split("```toml")[1].split("```")[0]
HOSTS = f"""
[defaults]
user = "anna"
known_hosts = "/k \\u0022 \\\\ ü"
[workers.worker1]
address = "192.0.2.1"
user = "ops"
[workers."fe80::1%eth0"]
address = "fe80::2"
vnc_listen = "0.0.0.0"
[images."debian-12.5"]
file = "images/debian.qcow2"
[images.vyos]
url = "https://192.0.2.7/vyos.img"
sha256 = "{"0F" * 32}"
format = "raw"
{EXAMPLE}
[vms.kept]
image = "vyos"
boot = "cdrom"
iso = "cd/a.iso"
machine = "q35"
extra_args = ["-smbios", "type=1,serial=a"]
disks = [{{ name = "data", size_gb = 2, format = "raw" }}, {{ name = "logs", size_gb = 1 }}]
[vms."a.b"]
vm_id = 9
ram_mb = 1
cores = 2
vnc_port = 5999
qcow_image = "/x"
interfaces = [{{ name = "e", model = "virtio", mac = "52:54:00:00:00:01" }}]
"""
LISTED = parse(HOSTS, source="hosts.toml")


def with_effective_macs(listed: Inventory) -> Inventory:
    """A derived MAC is written out, and then it is a given one."""
    vms = {
        name: replace(
            vm,
            interfaces=tuple(
                replace(interface, mac=nic.mac)
                for interface, nic in zip(vm.interfaces, vm.nics, strict=True)
            ),
        )
        for name, vm in listed.vms.items()
    }
    return replace(listed, vms=vms)


def test_what_is_printed_is_a_hosts_toml_that_means_the_same() -> None:
    again = parse(as_toml(LISTED, tuple(LISTED.vms.values())), source="hosts.toml")
    assert again == with_effective_macs(LISTED)


def test_the_vm_in_the_reference_is_printed_so() -> None:
    shown = REFERENCE.split("```console")[1].split("```")[0].partition("...\n")[2].strip()
    text = '[workers.worker1]\naddress = "192.0.2.1"\n' + EXAMPLE
    listed = parse(text, source="hosts.toml")
    printed = as_toml(listed, [listed.vms["web2"]])
    assert printed.endswith(shown), printed


@pytest.mark.parametrize(
    "line",
    [
        'user = "anna"',
        'user = "ops"',
        'bridge = "br-int"    # built in',
        'known_hosts = "/k \\" \\\\ ü"    # [defaults]',
        'vnc_listen = "0.0.0.0"',
        "ram_mb = 256    # [templates.router]",
        "vnc_port = 5913    # counted up from [vms.web]",
        "[vms.'a.b']",
        "[images.'debian-12.5']",
        'format = "qcow2"    # built in',
        'format = "raw"',
        f'sha256 = "{"0f" * 32}"',
    ],
)
def test_each_value_says_where_it_came_from(line: str) -> None:
    printed = as_toml(LISTED, tuple(LISTED.vms.values()))
    assert re.search(f"^{re.escape(line)}$", printed, re.MULTILINE), printed


@pytest.mark.parametrize("at", ["[vm_defaults]", "[templates.t]", "[vms.a]"])
@pytest.mark.parametrize("count", ["", "count = 2"])
@pytest.mark.parametrize("said", [True, False])
def test_what_no_section_says_is_built_in(at: str, count: str, said: bool) -> None:
    model, kind = (', model = "e1000"', ', format = "qcow2"') if said else ("", "")
    rows = f"""interfaces = [{{ name = "eth1", vlan_id = 9{model} }}]
disks = [{{ name = "data", size_gb = 2{kind} }}]"""
    text = f"""[vm_defaults]
ram_mb = 1
cores = 1
image = "i"
{rows if at == "[vm_defaults]" else ""}
[workers.w]
address = "192.0.2.1"
[images.i]
file = "/i"
[templates.t]
{rows if at == "[templates.t]" else ""}
[vms.a]
template = "t"
{count}
{rows if at == "[vms.a]" else ""}
"""
    listed = parse(text, source="hosts.toml")
    printed = as_toml(listed, list(listed.vms.values())[:1])
    section = "" if at == "[vms.a]" and not count else f"    # {at}"
    origin = section if said else "    # built in"
    lines = printed.splitlines()
    assert f'model = "e1000"{origin}' in lines
    assert f'format = "qcow2"{origin}' in lines
    assert f'name = "eth1"{section}' in lines
    assert f"size_gb = 2{section}" in lines


def test_for_programs_the_same() -> None:
    told = as_json(LISTED, [LISTED.vms["web1"]])
    assert [worker["worker"] for worker in told["workers"]] == ["worker1", "fe80::1%eth0"]
    assert told["workers"][0]["values"]["user"] == "ops"
    assert [image["image"] for image in told["images"]] == ["debian-12.5", "vyos"]
    assert told["images"][0] == {
        "image": "debian-12.5",
        "values": {"file": "images/debian.qcow2", "format": "qcow2"},
        "from": {"format": "built in"},
        "error": None,
    }
    (vm,) = told["vms"]
    assert vm["values"]["vnc_port"] == 5911
    assert vm["from"]["vnc_port"] == "counted up from [vms.web]"
    assert vm["from"]["worker"] == "[vms.web]"


@pytest.mark.parametrize("dry", [False, True])
def test_the_task_prints_it_and_contacts_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dry: bool,
) -> None:
    (tmp_path / "hosts.toml").write_text(HOSTS, encoding="utf-8")
    monkeypatch.setenv("VMOPS_HOSTS", str(tmp_path / "hosts.toml"))
    c: Any = Context(config=fabric.Config(overrides={"run": {"dry": dry}}))
    inventory(c, vm="web*")
    again = parse(capsys.readouterr().out, source="hosts.toml")
    assert list(again.vms) == ["web1", "web2", "web3"]
    inventory(c, format="json")
    told = json.loads(capsys.readouterr().out)
    assert [vm["vm"] for vm in told["vms"]] == list(LISTED.vms)
    assert told["error"] is None
