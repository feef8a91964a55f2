"""A worker with five VMs that is emptied, gets none, and is filled again."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests import boot_sector_image, cache_directory
from vmops.lab import Lab

from .fleet_helpers import WORKERS
from .lab_helpers import wait_until
from .operator import Operator

FOLDER = "/home/ubuntu/vm_images/.vmops"

HOSTS = """
[images.small]
file = {image}

[vm_defaults]
ram_mb = 32
cores = 1
image = "small"

[vms.v]
count = 4
interfaces = [{{ name = "eth1", vlan_id = 311 }}]

[vms.home]
worker = "worker1"

[vms.later]
worker = "worker1"
"""


@pytest.fixture
def full(wide_lab: Lab, tmp_path: Path) -> Iterator[Operator]:
    """Five VMs on worker1: four that hosts.toml gives no worker, of which two run, and one pinned
    there, which runs."""
    operator = Operator(wide_lab, tmp_path)
    image = boot_sector_image(cache_directory())
    operator.extra = HOSTS.format(image=json.dumps(str(image)))
    operator.write()
    operator.ok("-H", "worker1", "launch", "--vm", "v*")
    operator.ok("launch", "--vm", "home")
    operator.ok("-H", "worker1", "stop", "--vm", "v3,v4", "--force")
    yield operator
    operator.clean_up(WORKERS)
    for worker in WORKERS:
        operator.on(worker, "rm", "-rf", FOLDER)
        unmark = "-- remove Open_vSwitch . external_ids vmops-drained"
        away = "remove Open_vSwitch . external_ids vmops-away"
        operator.on(worker, "ovs-vsctl", "--timeout=10", *away.split(), *unmark.split())


def disks(operator: Operator, worker: str) -> set[str]:
    found = operator.on(worker, "sh", "-c", f"ls {FOLDER} 2>/dev/null || :").split()
    return {name.split("-")[1] for name in found if name.startswith("disk-")}


def test_all_leave_none_comes_and_all_come_back(full: Operator) -> None:
    full.ok("-H", "worker1", "pause", "--vm", "home")
    said = full.fab("drain", "--worker", "worker1", "--format", "json")
    assert said.code == 1, "one that stands still is not stopped unasked"
    assert {one["vm"] for one in said.json if one["changed"]} == {"v1", "v2", "v3", "v4"}
    assert said.err.count("its guest stood still for") == 2
    assert "or move it with a stop: fab drain --cold --worker worker1" in said.err
    assert set(full.qemus("worker1")) == {"home"}
    full.ok("drain", "--cold", "--force", "--worker", "worker1")
    assert full.qemus("worker1") == {}
    assert disks(full, "worker1") == set()
    at = {name: worker for worker in WORKERS[1:] for name in full.qemus(worker)}
    assert set(at) == {"v1", "v2", "home"}, "what ran runs, and nothing else"
    assert disks(full, "worker2") | disks(full, "worker3") == {"v1", "v2", "v3", "v4", "home"}
    again = full.ok("drain", "--cold", "--worker", "worker1", "--format", "json")
    assert again.json == []
    silent = full.ok("drain", "--cold", "--worker", "worker1")
    assert "worker1: done, and no VM had to be moved" in silent.err
    refused = full.fab("up", "--vm", "later")
    assert refused.code == 1
    assert "later is not started: worker1 is drained" in refused.err
    assert "fab undrain --worker worker1" in refused.err
    for words in (("up",), ("plan",), ("down",), ("status",)):
        told = full.fab(*words, "--worker", "worker1").err
        assert "fab undrain --worker worker1" in told, words
        assert "--elsewhere" not in told, words
    refused = full.fab("migrate", "--vm", "home", "--to", "worker1")
    assert (refused.code, "worker1 is drained, and gets no VM" in refused.err) == (1, True)
    assert full.qemus("worker1") == {}
    checks = full.fab("-H", "worker1", "doctor", "--format", "json").json[0]["checks"]
    found = {check["name"]: check["found"] for check in checks}
    assert found["drained"].startswith("yes, ")
    shown = full.ok("place", "--vm", "later", "--format", "json")
    assert shown.json[0]["workers"][0]["why_not"] == "it is drained"
    assert "home on worker2" in full.ok("resume", "--vm", "home").err.replace("worker3", "worker2")
    back = full.ok("undrain", "--worker", "worker1")
    assert back.err.count("its guest stood still for") == 3, "what runs goes on running"
    assert set(full.qemus("worker1")) == {"v1", "v2", "home"}
    assert disks(full, "worker1") == {"v1", "v2", "v3", "v4", "home"}
    assert disks(full, "worker2") | disks(full, "worker3") == set()
    assert "worker1 was not drained" in full.ok("undrain", "--worker", "worker1").err
    full.ok("up", "--vm", "later")


def test_what_somebody_has_settled_since_stays(full: Operator) -> None:
    full.ok("drain", "--worker", "worker1")
    at = {name: worker for worker in WORKERS[1:] for name in full.qemus(worker)}
    (other,) = set(WORKERS[1:]) - {at["home"]}
    full.ok("migrate", "--vm", "home", "--to", other)
    full.extra = full.extra.replace("count = 4", f'count = 4\nworker = "{at["v1"]}"')
    full.write()
    back = full.ok("undrain", "--worker", "worker1")
    assert f"home: left where it is, as it was moved from {at['home']} to {other} since" in back.err
    assert "back: fab migrate --vm home --to worker1" in back.err
    assert f"v1: left where it is, hosts.toml gives it {at['v1']}" in back.err
    assert "home" in full.qemus(other)
    assert "v1" in full.qemus(at["v1"])
    assert "worker1 was not drained" in full.ok("undrain", "--worker", "worker1").err


def test_what_is_removed_leaves_no_mark_that_it_was_moved(full: Operator) -> None:
    """What asks one worker alone leaves such marks; `prune` finds them."""
    full.ok("migrate", "--vm", "v3,v4", "--to", "worker2")
    full.ok("migrate", "--vm", "v3", "--to", "worker3")
    full.ok("-H", "worker3", "destroy", "--vm", "v3", "--yes")
    assert "was moved from worker1" in full.fab("-H", "worker1", "launch", "--vm", "v3").err
    found = full.ok("prune", "--format", "json").json
    told = [(each["worker"], each["vm"]) for each in found if each["kind"] == "mark"]
    assert told == [("worker1", "v3"), ("worker2", "v3")]
    full.ok("prune", "--yes", "--worker", "worker1")
    assert marked(full) == {"worker1": ["moving-v4"], "worker2": ["moving-v3"]}
    said = full.ok("destroy", "--vm", "v3", "--yes")
    assert "forgotten that it was moved" in said.out + said.err
    assert marked(full) == {"worker1": ["moving-v4"]}
    full.ok("reset-disk", "--vm", "v4", "--yes")
    assert marked(full) == {}


def marked(full: Operator) -> dict[str, list[str]]:
    """The marks of moves on each worker that has any."""
    looking = ("sh", "-c", f"cd {FOLDER} 2>/dev/null && ls | grep moving- || :")
    found = {worker: full.on(worker, *looking).split() for worker in WORKERS}
    return {worker: marks for worker, marks in found.items() if marks}


def test_one_without_a_place_stays_and_is_told(full: Operator) -> None:
    text = full.hosts_toml.read_text()
    for worker in WORKERS[1:]:
        text = text.replace(f"[workers.{worker}]", f'[workers.{worker}]\nbridge = "br-none"')
    full.hosts_toml.write_text(text)
    said = full.fab("drain", "--cold", "--force", "--worker", "worker1")
    assert said.code == 1
    assert "no bridge br-none" in said.err
    assert set(full.qemus("worker1")) == {"v1", "v2"}, "one without interfaces needs none"
    full.ok("undrain", "--stay", "--worker", "worker1")
    assert set(full.qemus("worker1")) == {"v1", "v2"}


def test_what_hosts_toml_gives_another_worker_does_not_come(full: Operator) -> None:
    """It was pinned there meanwhile, or who wrote down that it was taken away did not say true."""
    mark = ("external_ids:vmops-drained=true", 'external_ids:vmops-away="home"')
    full.on("worker2", "ovs-vsctl", "--timeout=10", "set", "Open_vSwitch", ".", *mark)
    said = full.ok("undrain", "--worker", "worker2")
    assert "home: left where it is, hosts.toml gives it worker1" in said.err
    assert set(full.qemus("worker1")) == {"v1", "v2", "home"}
    assert "was not drained" in full.ok("undrain", "--worker", "worker2").err


MARKED = "ovs-vsctl --timeout=10 get Open_vSwitch . external_ids | grep -q vmops-drained"
MOMENTS = {
    "written down": ("worker1", MARKED),
    "one is leaving": ("worker1", f"ls {FOLDER}/moving-*"),
    "one has come": ("worker[23]", f"ls {FOLDER}/disk-*"),
    "one is awaited": ("worker[23]", f"grep -l receiving {FOLDER}/moving-*"),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("moment", "end"),
    [*((moment, signal.SIGKILL) for moment in MOMENTS), ("one is leaving", signal.SIGINT)],
)
def test_a_drain_that_was_cut_goes_on(full: Operator, moment: str, end: signal.Signals) -> None:
    ran = set(full.qemus("worker1"))
    how = () if moment == "one is awaited" else ("--cold", "--force")
    words = ("drain", *how, "--worker", "worker1")
    task = full.begin(*words)
    where, sign = MOMENTS[moment]
    places = [worker for worker in WORKERS if re.fullmatch(where, worker)]
    looking = ["sh", "-c", f"{sign} >/dev/null 2>&1"]
    wait_until(lambda: any(not full.lab.run(w, looking, check=False).returncode for w in places))
    task.send_signal(end)
    task.communicate()
    once(full)
    refused = full.fab("up", "--vm", "later")
    assert "worker1 is drained" in refused.err
    full.ok(*words)
    assert full.qemus("worker1") == {}
    assert disks(full, "worker1") == set()
    assert once(full) == ran
    assert disks(full, "worker2") | disks(full, "worker3") == {"v1", "v2", "v3", "v4", "home"}
    full.ok("undrain", "--cold", "--force", "--worker", "worker1")
    assert set(full.qemus("worker1")) == ran


def once(full: Operator) -> set[str]:
    """What runs, each of it on one worker alone."""
    running = [name for worker in WORKERS for name in full.qemus(worker)]
    assert len(running) == len(set(running))
    return set(running)
