"""VMs in networks of OVN, moved to another worker and back: OVN lets them in where they are.

QEMUs that boot a sector; that their ports carry is proven by `verify`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.guests import boot_sector_image, cache_directory

from .ovn_site import Site, lab_with_ovn

FILE = """
[images.small]
file = {image}
[networks.blue]
engine = "ovn"
subnet = "192.168.10.0/24"
dhcp = true
[vm_defaults]
ram_mb = 32
cores = 1
image = "small"
[vms.b1]
vm_id = 1
worker = "{worker}"
interfaces = [{{ name = "eth0", network = "blue" }}]
[vms.b2]
vm_id = 2
worker = "worker2"
interfaces = [{{ name = "eth0", network = "blue" }}]
"""


def file(worker: str = "worker1") -> str:
    return FILE.format(worker=worker, image=json.dumps(str(boot_sector_image(cache_directory()))))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with lab_with_ovn(tmp_path_factory.mktemp("ovn")) as lab:
        found = Site(lab, tmp_path_factory.mktemp("site"))
        found.write(file())
        found.ok("ovn.setup", "--worker", "worker1")
        found.ok("net.up")
        yield found


@pytest.fixture
def site(shared: Site) -> Site:
    """Both VMs run, each on its worker."""
    shared.write(file())
    shared.ok("ovn.setup")
    shared.ok("up")
    return shared


def place_of(site: Site) -> tuple[str, str]:
    """For which worker OVN has b1's port, and from where to where it says that it has moved."""
    words = ("--if-exists", "get", "Logical_Switch_Port", "b1:eth0")
    moved, options = (
        site.nbctl(*words, column).strip('"')
        for column in ("external_ids:vmops-moved", "options:requested-chassis")
    )
    return options, moved


def actions(site: Site) -> dict[str, str]:
    rows = site.fab("plan", "--format", "json").json
    return {row.get("network") or row["vm"]: row["action"] for row in rows}


def test_where_ovn_could_not_let_it_in_nothing_is_begun(shared: Site) -> None:
    shared.ok("launch", "--vm", "b1")
    pid = shared.status_of("b1")["pid"]
    said = shared.fab("migrate", "--cold", "--vm", "b1", "--to", "worker2")
    assert (said.code, "OVN does not know worker2" in said.err) == (1, True)
    assert "fab -H worker2 ovn.setup" in said.err
    assert shared.status_of("b1")["pid"] == pid
    assert "moves" not in shared.ok("status", "--vm", "b1").out


def test_a_vm_goes_and_net_up_leaves_it_where_it_is(site: Site) -> None:
    home = place_of(site)
    assert home == ("worker1", "")
    site.ok("migrate", "--cold", "--force", "--vm", "b1", "--to", "worker2")
    assert place_of(site) == ("worker2", "worker1 worker2")
    assert set(site.networks()["blue"]["ports"].values()) == {"up"}
    assert actions(site)["blue"] == "nothing", "hosts.toml is not changed yet"
    site.ok("net.up")
    assert set(site.networks()["blue"]["ports"].values()) == {"up"}
    # With hosts.toml changed the word for the move goes, and nothing else changes.
    site.write(file("worker2"))
    site.ok("verify")
    assert actions(site) == {"blue": "change", "b1": "nothing", "b2": "nothing"}
    site.ok("net.up")
    assert place_of(site) == ("worker2", "")
    assert site.status_of("b1")["drift"] == []
    site.ok("migrate", "--cold", "--force", "--vm", "b1", "--to", "worker1")
    assert place_of(site) == ("worker1", "worker2 worker1")
    # Whatever hosts.toml says by then: another place than the one that it came from is its own.
    site.write(file("worker1"))
    site.ok("up")
    assert place_of(site) == home


def test_a_worker_is_drained_of_it_and_gets_it_back(site: Site) -> None:
    site.ok("stop", "--vm", "b1", "--force")
    site.ok("-H", "worker1", "drain", "--cold", "--force")
    assert place_of(site) == ("worker2", "worker1 worker2"), "a VM that does not run goes as well"
    assert actions(site)["blue"] == "nothing"
    site.ok("-H", "worker1", "undrain", "--cold", "--force")
    assert place_of(site) == ("worker1", "")
    site.ok("launch", "--vm", "b1")
    assert set(site.networks()["blue"]["ports"].values()) == {"up"}


def test_a_dry_run_says_what_ovn_would_be_told(site: Site) -> None:
    said = site.ok("--dry", "migrate", "--cold", "--vm", "b1", "--to", "worker2")
    assert 'options:requested-chassis="CHASSIS-OF-worker2"' in said.out
    said = site.ok("--dry", "migrate", "--vm", "b1", "--to", "worker2")
    both, alone = (
        said.out.index(f'options:requested-chassis="{places}"')
        for places in ("CHASSIS-OF-worker1,CHASSIS-OF-worker2", "CHASSIS-OF-worker2")
    )
    assert both < said.out.index("migrate-incoming") < said.out.index("migrate-continue") < alone
    assert place_of(site) == ("worker1", "")
