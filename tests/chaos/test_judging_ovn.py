"""The sweep can fail where OVN carries the network, too."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from . import overlay, things
from .outside import Nic, Shape
from .targets import OVER_GUESTS, OVER_NETS
from .wanted import is_as_wanted

(OVER1,) = OVER_GUESTS
LET_IN = Nic(
    "tap_9_eth1", None, has_port=True, has_tap=True, is_up=True, seat="over1:eth1 on br-ovn"
)


@pytest.mark.parametrize(
    ("nic", "whole"),
    [
        (LET_IN, True),
        (replace(LET_IN, tag=130), False),
        (replace(LET_IN, seat=""), False),
        (replace(LET_IN, seat="over1:eth2 on br-ovn"), False),
        (replace(LET_IN, seat="None on br-ovn"), False),
        (replace(LET_IN, seat="on other"), False),
        (replace(LET_IN, has_tap=False), False),
    ],
)
def test_a_vm_that_is_plugged_elsewhere_than_into_its_port_is_seen(nic: Nic, whole: bool) -> None:
    assert is_as_wanted(Shape(1, (nic,), True), OVER1, "running") == whole


ROWS = {"over": ("Logical_Switch a",), "side": ("Logical_Switch b",), "router": ("c",)}


@pytest.mark.parametrize("name", ROWS)
def test_a_network_that_is_left_or_missing_is_seen(name: str) -> None:
    none: dict[str, tuple[str, ...]] = dict.fromkeys(ROWS, ())
    assert not overlay.not_as_wanted(ROWS, served=True)
    assert not overlay.not_as_wanted(none, served=False)
    assert overlay.not_as_wanted({**ROWS, name: ()}, served=True)
    assert overlay.not_as_wanted({**none, name: ROWS[name]}, served=False)


@pytest.mark.parametrize(
    ("state", "drift", "there", "untrue"),
    [
        ("up", [], ROWS["over"], False),
        ("up", [], ("Logical_Switch other",), True),
        ("up", [{"field": "switch.name"}], ("Logical_Switch other",), False),
        ("down", [], (), False),
        ("down", [], ROWS["over"], True),
        ("up", [], (), True),
    ],
)
def test_net_status_that_does_not_tell_the_truth_of_them_is_seen(
    state: str, drift: list[object], there: tuple[str, ...], untrue: bool
) -> None:
    side: dict[str, Any] = {"network": "side", "state": "up", "drift": [], "error": None}
    over = side | {"network": "over", "state": state, "drift": drift}
    seen = {**ROWS, "over": there}
    assert bool(things.untruths([over, side], seen, ROWS, OVER_NETS)) == untrue


FOLLOWS = ("ovn-encap-ip 1", "ovn-encap-type geneve", "ovn-remote tcp:1:6642", "ptcp:6642:1")


@pytest.mark.parametrize("missing", FOLLOWS)
def test_a_setting_that_a_worker_lacks_is_seen(missing: str) -> None:
    assert not overlay.not_following({"following": FOLLOWS})
    left = tuple(word for word in FOLLOWS if word != missing)
    assert overlay.not_following({"following": left})


def test_doctor_that_does_not_tell_the_truth_is_seen() -> None:
    names = ("OVN's settings", "OVN's central", "kvm")

    def said(*wrong: str) -> str:
        checks = [{"name": name, "ok": name not in wrong} for name in names]
        return json.dumps([{"worker": "worker1", "checks": checks}])

    assert not overlay.untruths_of_doctor(said("kvm"), follows=True)
    assert overlay.untruths_of_doctor(said("kvm"), follows=False)
    assert not overlay.untruths_of_doctor(said("OVN's central"), follows=False)
    assert overlay.untruths_of_doctor(said("OVN's settings"), follows=True)
    assert overlay.untruths_of_doctor("", follows=True)
