"""TAP names, MACs, UUIDs and run directories: bounded, stable, and no two alike."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from vmops.core.names import (
    LOCK_ROOT,
    RunDirectory,
    derived_mac,
    qemu_uid,
    tap_is_hashed,
    tap_name,
    vm_uuid,
)

VM_IDS = st.integers(1, 65535)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)


@pytest.mark.parametrize(
    ("vm_id", "interface", "tap"),
    [
        pytest.param(1001, "eth1", "tap_1001_eth1", id="documented"),
        pytest.param(1, "a" * 9, "tap_1_aaaaaaaaa", id="15-bytes"),
        pytest.param(1, "a" * 10, "tap4a629677c44a", id="16-bytes"),
        pytest.param(65535, "management", "tapefa5c9beca38", id="long"),
    ],
)
def test_a_tap_is_named_as_documented_or_by_a_stable_hash(
    vm_id: int, interface: str, tap: str
) -> None:
    assert tap_name(vm_id, interface) == tap
    assert tap_is_hashed(vm_id, interface) is (not tap.startswith("tap_"))


@given(VM_IDS, NAMES)
def test_a_tap_name_fits_the_kernel(vm_id: int, interface: str) -> None:
    assert re.fullmatch(r"tap[A-Za-z0-9._-]{1,12}", tap_name(vm_id, interface))


@given(st.tuples(VM_IDS, NAMES), st.tuples(VM_IDS, NAMES))
@example((1, "1_a"), (11, "a"))
@example((1, "management1"), (1, "management2"))
@example((1, "Eth1"), (1, "eth1"))
def test_two_interfaces_never_share_a_tap(one: tuple[int, str], other: tuple[int, str]) -> None:
    assume(one != other)
    assert tap_name(*one) != tap_name(*other)


@given(VM_IDS, NAMES)
def test_a_hashed_tap_never_looks_like_a_documented_one(vm_id: int, interface: str) -> None:
    """The fourth character tells: an underscore in the one form, a hex digit in the other."""
    fourth = tap_name(vm_id, interface)[3]
    assert fourth in ("0123456789abcdef" if tap_is_hashed(vm_id, interface) else "_")


@pytest.mark.parametrize(
    ("vm_id", "position", "mac"),
    [
        (1001, 1, "52:54:00:03:e9:01"),
        (1, 1, "52:54:00:00:01:01"),
        (65535, 24, "52:54:00:ff:ff:18"),
    ],
)
def test_a_mac_is_derived_as_documented(vm_id: int, position: int, mac: str) -> None:
    assert derived_mac(vm_id, position) == mac


@given(st.tuples(VM_IDS, st.integers(1, 24)), st.tuples(VM_IDS, st.integers(1, 24)))
def test_derived_macs_differ(one: tuple[int, int], other: tuple[int, int]) -> None:
    assume(one != other)
    assert derived_mac(*one) != derived_mac(*other)


def test_a_uuid_is_the_same_on_every_laptop_and_another_for_every_vm() -> None:
    assert vm_uuid("vm1", 1001) == "414ac939-b1cf-5170-ba82-8bb067f4ee03"
    others = {vm_uuid("vm1", 1001), vm_uuid("vm1", 1002), vm_uuid("vm2", 1001), vm_uuid("m1", 1)}
    assert len(others) == 4


def test_every_vm_id_has_a_uid_in_the_range_that_nobody_uses() -> None:
    assert 1_879_048_192 <= qemu_uid(1) < qemu_uid(2) < qemu_uid(65535) <= 2_147_483_647


@given(NAMES)
def test_the_sockets_of_any_vm_fit_an_address(vm: str) -> None:
    run = RunDirectory(vm)
    assert all(
        len(path.encode()) < 108 for path in (run.monitor, run.monitor_for_humans, run.console)
    )
    assert run.path != LOCK_ROOT
    assert not run.lock.startswith(f"{run.path}/")
