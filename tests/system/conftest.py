"""The lab for the tests of this ring: a directory and addresses of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.guests import boot_sector_image, cache_directory
from vmops.errors import WorkFailed
from vmops.lab import Lab
from vmops.lab.tools import require_tools
from vmops.remote.ssh.connection import close_all

from .fleet_helpers import WORKERS, put
from .operator import Operator, small_vm

PORT = 2222


def free_network() -> str:
    """Three octets under which nobody listens; test runs side by side look in different ranges."""
    for third in range(256):
        network = f"127.{2 + os.getpid() % 250}.{third}"
        try:
            with socket.create_server((f"{network}.1", PORT)):
                return network
        except OSError:
            continue
    raise AssertionError("no free address for a lab")


def require_a_lab() -> None:
    """Skip where no lab can be; in CI that is a failure."""
    try:
        require_tools()
    except WorkFailed as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _hung_up() -> Iterator[None]:
    """Leave no connection of this process to the next test, which may count what it needs."""
    yield
    close_all()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of two workers that all tests share: leave it as it was."""
    require_a_lab()
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.up(2, network=free_network(), port=PORT, owner=os.getpid())
    yield lab
    lab.down()


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Labs for one test alone, to break: call it as `Lab.up`."""
    require_a_lab()
    made: list[Lab] = []

    def up(workers: int = 1, **settings: object) -> Lab:
        made.append(Lab(tmp_path / f"lab{len(made)}"))
        settings = {"network": free_network(), "owner": os.getpid(), **settings}
        made[-1].up(workers, **settings)  # type: ignore[arg-type]
        return made[-1]

    yield up
    for lab in made:
        lab.down()


@pytest.fixture
def operator(lab: Lab, tmp_path: Path) -> Iterator[Operator]:
    """An operator at the shared lab; what they leave behind is removed."""
    somebody = Operator(lab, tmp_path)
    somebody.write()
    yield somebody
    somebody.clean_up()


@pytest.fixture(scope="session")
def wide_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of three workers that the tests of fleets share: leave it as it was."""
    require_a_lab()
    lab = Lab(tmp_path_factory.mktemp("wide_lab"))
    lab.up(len(WORKERS), network=free_network(), port=PORT, owner=os.getpid())
    yield lab
    lab.down()


@pytest.fixture
def fleet(wide_lab: Lab, tmp_path: Path) -> Iterator[Operator]:
    """An operator with a1 and a2 on worker1, b1 and b2 on worker2, c1 and c2 on worker3."""
    operator = Operator(wide_lab, tmp_path)
    disk = boot_sector_image(cache_directory()).read_bytes()
    for letter, worker in zip("abc", WORKERS, strict=True):
        for number in (1, 2):
            vm_id = 10 * (ord(letter) - ord("a")) + number
            vm = operator.add(
                small_vm(f"{letter}{number}", vm_id, 100 + vm_id), worker, image=False
            )
            put(operator, worker, vm.qcow_image, disk)
    yield operator
    for worker in WORKERS:
        wide_lab.heal(worker)
    operator.clean_up()


@pytest.fixture
def plugged(operator: Operator) -> Operator:
    """On each of two workers a VM in VLAN 101 and one in VLAN 102, plugged and not booted.

    VMs of other tests had the same MACs elsewhere, and these send nothing that would tell a switch.
    """
    for worker in ("worker1", "worker2"):
        operator.on(worker, "ovs-appctl", "fdb/flush")
    for number, (worker, vlan) in enumerate(
        ((worker, vlan) for worker in ("worker1", "worker2") for vlan in (101, 102)), start=1
    ):
        operator.add(small_vm(f"vm{number}", number, vlan), worker, image=False)
    operator.ok("plug", "--vm", "*")
    return operator
