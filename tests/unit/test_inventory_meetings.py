"""What VMs that can meet may not share in hosts.toml."""

from __future__ import annotations

from typing import Any

import pytest

from vmops.core.inventory.inventory import parse

from .test_inventory import WORKERS, a_vm, complaints

SHARED = [
    pytest.param(
        {"vm_id": 1001},
        {"vm_id": 1001},
        "vm_id: 1001: must differ from vms.vm1.vm_id",
        id="vm_id",
    ),
    pytest.param(
        {"vnc_port": 5905},
        {"vnc_port": 5905},
        "vnc_port: 5905: must differ from vms.vm1.vnc_port",
        id="vnc_port",
    ),
    pytest.param(
        {"qcow_image": '"images//a"'},
        {"qcow_image": '"~/images/./a"'},
        "qcow_image: disk '~/images/a': must differ from vms.vm1.qcow_image",
        id="disk",
    ),
    pytest.param(
        {"qcow_image": '"/srv/a"'},
        {"qcow_image": '"//srv/a"'},
        "qcow_image: disk '/srv/a': must differ from vms.vm1.qcow_image",
        id="absolute-disk",
    ),
    pytest.param(
        {"interfaces": ['name = "a"\nmac = "52:54:00:00:00:0A"']},
        {"interfaces": ['name = "b"', 'name = "a"\nmac = "52-54-00-00-00-0a"']},
        "interfaces[1].mac: '52:54:00:00:00:0a': must differ from vms.vm1.interfaces[0].mac",
        id="mac",
    ),
    pytest.param(
        {"interfaces": ['name = "a"']},
        {"interfaces": ['name = "b"\nmac = "52:54:00:03:e9:01"']},
        "interfaces[0].mac: '52:54:00:03:e9:01': must differ from vms.vm1.interfaces[0].mac",
        id="mac-that-is-derived-for-another",
    ),
    pytest.param(
        {"interfaces": ['name = "eth1"']},
        {"vm_id": 1001, "interfaces": ['name = "eth1"']},
        "vm_id: 1001: must differ from vms.vm1.vm_id",
        id="tap-and-derived-mac-follow-from-vm_id",
    ),
]


@pytest.mark.parametrize(("one", "other", "expected"), SHARED)
@pytest.mark.parametrize(
    ("pins", "why"),
    [
        pytest.param(('"worker1"', '"worker1"'), "both are on worker1", id="one-worker"),
        pytest.param(('"worker1"', None), "both can be on one worker", id="one-unpinned"),
        pytest.param((None, '"worker1"'), "both can be on one worker", id="other-unpinned"),
        pytest.param((None, None), "both can be on one worker", id="both-unpinned"),
        pytest.param(('"worker1"', '"worker2"'), None, id="two-workers"),
    ],
)
def test_vms_that_can_meet_share_nothing(
    one: dict[str, Any],
    other: dict[str, Any],
    expected: str,
    pins: tuple[str | None, str | None],
    why: str | None,
) -> None:
    text = WORKERS + a_vm("vm1", worker=pins[0], **one) + a_vm("vm2", worker=pins[1], **other)
    if why is None:
        assert list(parse(text, source="hosts.toml").vms) == ["vm1", "vm2"]
    else:
        assert complaints(text) == (f"hosts.toml: vms.vm2.{expected}: {why}",)


def a_card(mac: str | None = None, vlan_id: int | None = 101) -> str:
    keys = {"name": '"eth1"', "vlan_id": vlan_id, "mac": mac and f'"{mac}"'}
    return "\n".join(f"{key} = {value}" for key, value in keys.items() if value is not None)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        pytest.param(
            {"interfaces": [a_card("52:54:00:00:00:0a")]},
            {"interfaces": [a_card("52-54-00-00-00-0A")]},
            "'52:54:00:00:00:0a': {}: set another mac",
            id="both-given",
        ),
        pytest.param(
            {"vm_id": 7, "interfaces": [a_card()]},
            {"vm_id": 7, "interfaces": [a_card()]},
            "'52:54:00:00:07:01': {}: set another vm_id, or a mac",
            id="both-derived",
        ),
        pytest.param(
            {"interfaces": [a_card("52:54:00:00:07:01")]},
            {"vm_id": 7, "interfaces": [a_card()]},
            "'52:54:00:00:07:01': {}: set another vm_id, or a mac",
            id="derived-of-the-second",
        ),
        pytest.param(
            {"vm_id": 7, "interfaces": [a_card()]},
            {"interfaces": [a_card("52:54:00:00:07:01")]},
            "'52:54:00:00:07:01': {}: set another mac",
            id="derived-of-the-first",
        ),
        pytest.param(
            {"interfaces": [a_card("52:54:00:00:00:0a", 101)]},
            {"interfaces": [a_card("52:54:00:00:00:0a", 102)]},
            None,
            id="two-vlans",
        ),
        pytest.param(
            {"interfaces": [a_card("52:54:00:00:00:0a", None)]},
            {"interfaces": [a_card("52:54:00:00:00:0a", None)]},
            None,
            id="not-connected",
        ),
    ],
)
def test_a_mac_is_on_a_vlan_once_whatever_the_worker(
    one: dict[str, Any], other: dict[str, Any], said: str | None
) -> None:
    text = WORKERS + a_vm("vm1", worker='"worker1"', **one)
    text += a_vm("vm2", worker='"worker2"', **other)
    if said is None:
        assert list(parse(text, source="hosts.toml").vms) == ["vm1", "vm2"]
        return
    why = "must differ from vms.vm1.interfaces[0].mac: both are on VLAN 101, which is one network"
    assert complaints(text) == (f"hosts.toml: vms.vm2.interfaces[0].mac: {said.format(why)}",)


def test_one_vm_id_on_vlans_of_two_workers_is_told_once() -> None:
    cards = [f'name = "eth{vlan}"\nvlan_id = {vlan}' for vlan in (101, 102, 103)]
    text = WORKERS + a_vm("vm1", vm_id=7, worker='"worker1"', interfaces=cards)
    text += a_vm("vm2", vm_id=7, worker='"worker2"', interfaces=cards)
    (said,) = complaints(text)
    assert said.startswith("hosts.toml: vms.vm2.interfaces[0].mac: '52:54:00:00:07:01': must")


def test_the_first_that_a_vm_clashes_with_is_named() -> None:
    image, port = '"/x"', 5950
    text = WORKERS + a_vm("vm1", worker='"worker2"', vnc_port=port)
    text += a_vm("vm2", qcow_image=image) + a_vm("vm3", worker='"worker1"', vnc_port=port)
    text += a_vm("vm4", worker='"worker1"', vnc_port=port, qcow_image=image)
    assert complaints(text) == (
        "hosts.toml: vms.vm4.vnc_port: 5950: must differ from vms.vm3.vnc_port: both are on"
        " worker1",
        "hosts.toml: vms.vm4.qcow_image: disk '/x': must differ from vms.vm2.qcow_image: both can"
        " be on one worker",
    )
