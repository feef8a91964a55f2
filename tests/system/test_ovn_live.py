"""VMs in networks of OVN go to another worker while they run, and such moves are cut.

QEMUs that boot a sector; that their ports carry is proven by `verify`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.guests import boot_sector_image, cache_directory

from .ovn_site import Site, lab_with_ovn

pytestmark = pytest.mark.timeout(600)

FILE = """
[images.small]
file = {image}
[networks.blue]
engine = "ovn"
subnet = "192.168.10.0/24"
[networks.wired]
engine = "ovn"
subnet = "192.168.30.0/24"
vlan_id = 30
[vm_defaults]
ram_mb = 32
cores = 1
image = "small"
[vms.b1]
vm_id = 1
worker = "worker1"
interfaces = [{{ name = "eth0", network = "blue" }}, {{ name = "eth1", network = "wired" }}]
[vms.b2]
vm_id = 2
worker = "worker2"
interfaces = [{{ name = "eth0", network = "blue" }}, {{ name = "eth1", network = "wired" }}]
"""
MOVE = ("migrate", "--vm", "b1", "--to")
SLOWLY = ("migrate", "--bandwidth-mbit", "1", "--vm", "b1", "--to", "worker2")
"""Its memory alone takes seconds."""
WAY = "ls /run/vmops/b1/way.sock 2>/dev/null"
"""That both QEMUs are there, and what they say to each other is carried."""
MARK = "/home/ubuntu/vm_images/.vmops/moving-b1"

Place = tuple[str, str, str]
BOTH: Place = ("worker1,worker2", "rarp", "worker1 worker1 worker2")
THERE: Place = ("worker2", "", "worker1 worker2")
HOME: Place = ("worker1", "", "")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with lab_with_ovn(tmp_path_factory.mktemp("ovn")) as lab:
        found = Site(lab, tmp_path_factory.mktemp("site"))
        image = json.dumps(str(boot_sector_image(cache_directory())))
        found.write(FILE.format(image=image))
        found.ok("ovn.setup")
        found.ok("up")
        yield found


@pytest.fixture
def site(shared: Site) -> Site:
    """Both VMs run, each on its worker."""
    shared.ok(*MOVE, "worker1")
    assert places_of(shared) == {HOME}
    return shared


def places_of(site: Site) -> set[Place]:
    """For which workers OVN has each of b1's ports, how the second of two is to hear that the guest
    is there, and from where to where it says that it has moved."""
    columns = "options:requested-chassis", "options:activation-strategy", "external_ids:vmops-moved"
    found = set()
    for port in ("b1:eth0", "b1:eth1"):
        words = ("--if-exists", "get", "Logical_Switch_Port", port)
        at, waits, moved = (site.nbctl(*words, column).strip('"') for column in columns)
        found.add((at, waits, moved))
    return found


def qemus(site: Site) -> tuple[int | None, int | None]:
    """The PIDs of b1's, on either worker."""
    return site.qemus("worker1").get("b1"), site.qemus("worker2").get("b1")


def until(site: Site, worker: str, test: str) -> None:
    """Wait until that is so there."""
    words = f"i=0; until {test}; do i=$((i + 1)); [ $i -lt 6000 ] || exit 1; sleep 0.01; done"
    site.on(worker, "sh", "-c", words)


def actions(site: Site) -> set[str]:
    """What `plan` would do about the networks."""
    rows = site.fab("plan", "--format", "json").json
    return {row["action"] for row in rows if row.get("network")}


def test_one_that_runs_goes_on_running_and_is_drained_back(site: Site) -> None:
    said = site.ok(*MOVE, "worker2")
    assert "b1: runs on worker2, its guest stood still for" in said.err
    assert places_of(site) == {THERE}
    assert (qemus(site)[0], site.status_of("b1")["drift"]) == (None, [])
    site.ok("verify")
    assert actions(site) == {"nothing"}, "hosts.toml is not changed yet"
    site.ok("-H", "worker2", "drain")
    assert places_of(site) == {HOME}
    assert qemus(site)[1] is None
    said = site.ok("-H", "worker2", "undrain")
    assert "b1: left where it is, hosts.toml gives it worker1" in said.err
    site.ok("-H", "worker1", "drain")
    assert places_of(site) == {THERE}
    site.ok("-H", "worker1", "undrain")
    assert places_of(site) == {HOME}
    site.ok("verify")


def test_one_that_was_cut_takes_nothing_from_the_one_that_runs_and_is_taken_back(
    site: Site,
) -> None:
    pid, _ = qemus(site)
    task = site.begin(*SLOWLY)
    until(site, "worker1", WAY)
    assert places_of(site) == {BOTH}
    task.kill()
    task.communicate()
    assert qemus(site)[0] == pid
    # Nobody who brings networks to what hosts.toml says takes its ports from a move.
    assert actions(site) == {"nothing"}
    site.ok("net.up")
    assert places_of(site) == {BOTH}
    site.ok("verify")
    site.ok(*MOVE, "worker1")
    assert places_of(site) == {HOME}
    assert qemus(site) == (pid, None)

    # Where what waits is killed, the task itself takes all of it back.
    task = site.begin(*SLOWLY)
    until(site, "worker1", WAY)
    site.on("worker2", "kill", "-9", str(qemus(site)[1]))
    _, err = task.communicate(timeout=120)
    assert (task.returncode, "b1 goes on running on worker1" in err) == (1, True), err
    assert places_of(site) == {HOME}
    assert qemus(site) == (pid, None)


def test_the_same_command_goes_on_with_what_was_cut(site: Site) -> None:
    for worker, test in (("worker1", WAY), ("worker1", f"grep -q leaving {MARK} 2>/dev/null")):
        task = site.begin(*MOVE, "worker2")
        until(site, worker, test)
        task.kill()
        task.communicate()
    site.ok(*MOVE, "worker2")
    assert places_of(site) == {THERE}
    assert (qemus(site)[0], site.status_of("b1")["state"]) == (None, "running")
    site.ok("verify")
