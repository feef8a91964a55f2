"""`verify --ping`: real guests with agents, asked by their gateway and by each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.guests import agent_image, cache_directory

from .lab_helpers import wait_until
from .operator import Operator, Said

NETWORK = """
[networks.lan]
vlan_id = 101
subnet = "10.1.0.0/16"
gateway = "10.1.255.254"
dhcp = true
network_node = "worker1"
"""

VM = """
[vms.web{number}]
vm_id = {number}
worker = "worker{number}"
ram_mb = 128
cores = 1
vnc_port = 590{number}
image = "agent"
interfaces = [{{ name = "eth1", network = "lan", address = "10.1.0.{number}" }}]
"""


@pytest.fixture
def lan(operator: Operator) -> Iterator[Operator]:
    """Two VMs whose agents listen, and their network, which is served."""
    image = f"[images.agent]\nfile = {json.dumps(str(agent_image(cache_directory())))}\n"
    vms = "".join(VM.format(number=number) for number in (1, 2))
    operator.extra = image + NETWORK + vms
    operator.write()
    operator.ok("up")

    def are_up() -> bool:
        said = operator.ok("status", "--format", "json").json
        return len([each for each in said if each["agent"]]) == 2

    wait_until(are_up, seconds=90)
    yield operator
    operator.ok("down", "--force")
    for worker in ("worker1", "worker2"):
        operator.on(worker, "rm", "-rf", "/home/ubuntu/vm_images/.vmops")


def pings(said: Said) -> dict[tuple[str, str], Any]:
    asked = [item for item in said.json if item["kind"] == "ping"]
    return {(item["from"], item["to"]): item["found"] for item in asked}


def test_guests_are_asked_by_their_gateway_and_by_each_other(lan: Operator) -> None:
    said = lan.ok("verify", "--ping", "--format", "json")
    gateway = "lan:gateway"
    assert pings(said) == dict.fromkeys(
        [
            (gateway, "web1"),
            (gateway, "web2"),
            ("web1", "web2"),
            ("web1", gateway),
            ("web2", "web1"),
            ("web2", gateway),
        ],
        "answers",
    )
    text = lan.ok("verify", "--ping", "--no-services").out
    assert "lan:gateway  web1 (10.1.0.1), web2 (10.1.0.2)" in text
    lan.ok("exec", "--vm", "web2", "--", "ip", "addr", "flush", "dev", "eth1")
    said = lan.fab("verify", "--ping", "--no-services", "--format", "json")
    assert said.code == 1
    silent = {pair for pair, found in pings(said).items() if found == "silent"}
    assert silent == {
        (gateway, "web2"),
        ("web1", "web2"),
        ("web2", "web1"),
        ("web2", gateway),
    }
    assert "web2: its guest does not answer at 10.1.0.2: lan:gateway asks in vain" in said.err
    assert "web2: its guest is not answered by web1 (10.1.0.1), lan:gateway" in said.err
    assert "web1: its guest is not answered" not in said.err, "each cause once"
