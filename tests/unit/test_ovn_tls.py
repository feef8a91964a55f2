"""Workers that are to follow OVN's central by TLS: what is set, refused, and said by doctor."""

from __future__ import annotations

import copy
import pickle

import pytest

from vmops.core.facts.network.following import Following
from vmops.core.inventory.inventory import Inventory, Part, parse
from vmops.core.inventory.model import Worker
from vmops.core.inventory.written_out import as_toml
from vmops.core.plan.network import following as setting_up
from vmops.errors import InventoryError, WorkFailed

W1 = Worker("w1", address="10.0.0.1")
W2 = Worker("w2", address="10.0.0.2")
KEYS = ("switch", "central")
BY_TLS = Part(W1, tls=True)
REMOTE = "ssl:10.0.0.1:6642"
TEXT = """
[ovn]
northbound = "w1"
{more}
[networks.blue]
engine = "ovn"
[workers.w1]
address = "10.0.0.1"
[workers.w2]
address = "10.0.0.2"
[vms.web]
vm_id = 1
worker = "w2"
ram_mb = 32
cores = 1
qcow_image = "~/x.qcow2"
interfaces = [{{ name = "eth0", network = "blue" }}]
"""


def read(more: str) -> Inventory:
    return parse(TEXT.format(more=more), source="hosts.toml")


def test_the_key_reaches_every_part_and_outlives_copies() -> None:
    listed = read("tls = true")
    again = parse(as_toml(listed, ()), source="again")
    for one in (listed, copy.copy(listed), pickle.loads(pickle.dumps(listed)), again):
        assert one.ovn_tls
    part = listed.part_of(listed.workers["w2"])
    assert part is not None
    assert part.tls
    assert not read("").ovn_tls
    assert "tls" not in as_toml(read("tls = false"), ())
    with pytest.raises(InventoryError, match=r"ovn\.tls"):
        read('tls = "yes"')


def test_a_worker_follows_by_tls_and_the_central_listens_by_nothing_else() -> None:
    follower = Following(keys=("switch",))
    assert setting_up.wanted(W2, BY_TLS, follower)["central"] == {"ovn-remote": REMOTE}
    openly = Following(keys=KEYS, listens=("ptcp:6642:10.0.0.1", "ptcp:6640", "ptcp:6642:10.9.9.9"))
    block = setting_up.set_up(W1, BY_TLS, openly).block
    assert block is not None
    (listen,) = next(iter(block.numbered())).commands
    assert listen.argv == ("listen_for_workers", "pssl:6642:10.0.0.1", "ptcp:6642:10.0.0.1")


@pytest.mark.parametrize(
    ("listens", "tls", "good"),
    [
        (("pssl:6642",), True, True),
        (("pssl:6642:10.0.0.1",), True, True),
        (("pssl:6642:10.0.0.1", "ptcp:6642:10.9.9.9"), True, True),
        (("ptcp:6642:10.0.0.1",), True, False),
        (("ptcp:6642",), True, False),
        (("pssl:6642:[::]", "ptcp:6642:0.0.0.0"), True, False),
        ((), True, False),
        (("pssl:6642",), False, False),
        (("ptcp:6642",), False, True),
    ],
)
def test_an_open_listener_beside_one_with_tls_is_none(
    listens: tuple[str, ...], tls: bool, good: bool
) -> None:
    part, found = Part(W1, tls=tls), Following(keys=KEYS, listens=listens)
    assert setting_up.listens(part, found) == good
    said = {check.name: check.ok for check in setting_up.checks(W1, part, found)}
    assert said["OVN's central"] == good


@pytest.mark.parametrize(
    ("worker", "keys", "lacks"),
    [
        (W1, (), "Open vSwitch and OVN's southbound database"),
        (W1, ("switch",), "OVN's southbound database"),
        (W1, ("central",), "Open vSwitch"),
        (W2, (), "Open vSwitch"),
    ],
)
def test_a_worker_without_keys_is_told_before_anything_changes(
    worker: Worker, keys: tuple[str, ...], lacks: str
) -> None:
    found = Following(keys=keys)
    with pytest.raises(WorkFailed) as caught:
        setting_up.set_up(worker, BY_TLS, found)
    assert caught.value.what.endswith(f"no keys for TLS in {lacks}")
    checks = {check.name: check for check in setting_up.checks(worker, BY_TLS, found)}
    assert not checks["OVN's keys"].ok
    assert lacks in checks["OVN's keys"].found


@pytest.mark.parametrize(
    ("worker", "found"),
    [
        (W1, Following(listens=("pssl:6642:10.0.0.1",))),
        (W1, Following(listens=("pssl:6642",))),
        (W2, Following(settings={"ovn-remote": REMOTE})),
    ],
)
def test_a_file_that_knows_nothing_of_tls_takes_it_from_nobody(
    worker: Worker, found: Following
) -> None:
    with pytest.raises(WorkFailed) as caught:
        setting_up.set_up(worker, Part(W1), found)
    assert "goes by TLS" in caught.value.what
    assert caught.value.cure == "write tls = true in [ovn]"
