"""A VM that was moved, and that hosts.toml has at its old worker yet: all of its tasks find it."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.guests import boot_sector_image, cache_directory
from vmops.lab import Lab
from vmops.tasks import ns

from .operator import Operator

FOLDER = "/home/ubuntu/vm_images/.vmops"
HOSTS = """
[images.small]
file = {image}

[vm_defaults]
worker = "worker1"
ram_mb = 32
cores = 1
image = "small"
interfaces = [{{ name = "eth1", vlan_id = 311 }}]

[vms.web]
count = 2
vnc_port = 5901

[vms.db]
worker = "worker2"
vnc_port = 5901

[vms.one]
worker = "worker1"
"""
MOVE = ("migrate", "--cold", "--force")
WORKERS = ("worker1", "worker2")


@pytest.fixture(scope="module")
def somebody(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """web1, web2 and one run on worker1 and db on worker2, and one was moved to there."""
    operator = Operator(lab, tmp_path_factory.mktemp("where"))
    image = boot_sector_image(cache_directory())
    operator.extra = HOSTS.format(image=json.dumps(str(image)))
    operator.write()
    operator.ok("up")
    operator.ok(*MOVE, "--vm", "one", "--to", "worker2")
    yield operator
    operator.clean_up(WORKERS)
    for worker in WORKERS:
        operator.on(worker, "rm", "-rf", FOLDER)
        for key in ("vmops-drained", "vmops-away"):
            unmark = ("remove", "Open_vSwitch", ".", "external_ids", key)
            operator.on(worker, "ovs-vsctl", "--timeout=10", *unmark)


@pytest.fixture
def moved(somebody: Operator) -> Operator:
    """`one` runs on worker2, whatever the test before has done with it."""
    if "one" not in somebody.qemus("worker2"):
        somebody.ok("launch", "--vm", "one")
    assert "one" in somebody.qemus("worker2")
    assert "one" not in somebody.qemus("worker1")
    return somebody


class Case(NamedTuple):
    """A task as it is typed, and what it says of the VM at worker2."""

    words: tuple[str, ...]
    says: str


NAMED = ("--vm", "one")
NIC = ("--vm", "one:eth1")
SNAPSHOT = (*NAMED, "--name", "s1")
CHAINS = {
    "seen": (
        Case(("status", *NAMED), "one +worker2 +running belongs on worker1"),
        Case(("status",), "one +worker2 +running belongs on worker1"),
        Case(("plan", *NAMED), "one +worker2 +nothing"),
        Case(("pid", *NAMED), r"^\d+$"),
        Case(("wait", *NAMED), "one on worker2: running"),
        Case(("logs", *NAMED), "VMOPS-GUEST-UP"),
        Case(("console", *NAMED, "--timeout", "0"), ""),
        Case(("screenshot", *NAMED, "--output", "{}/one.png"), "one.png"),
        Case(("snapshot.list", *NAMED), "no snapshot is there"),
        Case(("trace", "--from", "one", "--to", "web1"), "worker2 +ok +one:eth1"),
        Case(("verify", *NAMED), "one:eth1 +311 +worker2"),
    ),
    "left as it is": (
        Case(("plug", *NAMED), "one on worker2: was already plugged"),
        Case(("boot", *NAMED), "one on worker2: already runs"),
        Case(("launch", *NAMED), "one on worker2: already runs"),
        Case(("up", *NAMED), "one +worker2 +already runs"),
        Case(("adopt", *NAMED), "one on worker2: is vmops' own already"),
    ),
    "changed": (
        Case(("pause", *NAMED), "one on worker2: paused"),
        Case(("resume", *NAMED), "one on worker2: running"),
        Case(("sendkey", *NAMED, "--keys", "ret"), "one on worker2: 1 chord pressed"),
        Case(("type", *NAMED, "--text", "a"), "one on worker2: 1 chord pressed"),
        Case(("nic.down", *NIC), "one on worker2: eth1 is down"),
        Case(("nic.up", *NIC), "one on worker2: eth1 is up"),
        Case(("net.impair", *NIC, "--clear"), "one on worker2: "),
        Case(("snapshot.save", *SNAPSHOT), "one on worker2: snapshot s1 saved"),
        Case(("snapshot.revert", *SNAPSHOT, "--yes"), "one on worker2: as in snapshot s1"),
        Case(("snapshot.delete", *SNAPSHOT), "one on worker2: snapshot s1 deleted"),
        Case(("reset", *NAMED), "one on worker2: reset"),
    ),
    "ended": (
        Case(("restart", *NAMED, "--force"), "one on worker2: restarted"),
        Case(("suspend", *NAMED), "one on worker2: suspended"),
        Case(("suspend", *NAMED, "--discard"), "one on worker2: without kept memory"),
        Case(("launch", *NAMED), "one on worker2: runs"),
        Case(("stop", *NAMED, "--force"), r"one on worker2: stopped \(SIGKILL\)"),
        Case(("reset-disk", *NAMED, "--yes"), "one on worker2: disk removed"),
        Case(("up", *NAMED), "one +worker2 +started"),
        Case(("down", *NAMED, "--force"), r"one +worker2 +stopped \(SIGKILL\)"),
    ),
}
TELLS = "it was moved from worker1 to worker2; if it is to stay: set worker"


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_tasks_find_a_vm_that_was_moved(moved: Operator, chain: tuple[Case, ...]) -> None:
    words = [word.format(moved.folder) for case in chain for word in case.words]
    said = moved.ok(*words)
    for case in chain:
        assert re.search(case.says, said.out + said.err, re.MULTILINE), (case, said)
    assert said.err.count(TELLS) == 1, "once is enough for a chain"


def test_what_is_refused_is_refused_for_what_is_so_where_it_is(moved: Operator) -> None:
    for words in (("unplug", *NAMED), ("reset-disk", *NAMED, "--yes")):
        said = moved.fab(*words)
        assert (said.code, "worker2: one" in said.err) == (1, True), said
        assert "stop it first: fab stop --vm one" in said.err
    agent = moved.fab("exec", *NAMED, "--", "true")
    assert (agent.code, "worker2: one: no guest agent" in agent.err) == (1, True), agent
    there = moved.fab("-H", "worker2", "stop", *NAMED)
    assert (there.code, "leave -H out" in there.err) == (2, True)


LONG = {
    "vnc": ("vnc", *NAMED, "--no-viewer"),
    "logs -f": ("logs", *NAMED, "-f"),
    "capture": ("capture", *NIC, "--write", "{}/one.pcap"),
}


@pytest.mark.parametrize("words", LONG.values(), ids=LONG)
def test_a_task_that_stays_finds_it_too(moved: Operator, words: tuple[str, ...]) -> None:
    task = moved.begin(*(word.format(moved.folder) for word in words))
    stream = task.stderr if words[0] == "capture" else task.stdout
    assert stream is not None
    line = stream.readline()
    while line and not re.search("on worker2|VMOPS-GUEST-UP", line):
        line = stream.readline()
    task.send_signal(signal.SIGINT)
    task.communicate(timeout=60)
    assert line, "it has told nothing of the VM at worker2"


NOT_TRIED = {
    "exec": "refused above, and cp and snapshot.thaw wait longer for the same agent",
    "cp": "as exec",
    "snapshot.thaw": "as exec",
    "unplug": "refused above",
    "ping": "needs guests with addresses; it finds its VM as trace does",
    "ssh": "as ping",
    "ssh-config": "no worker is contacted",
    "destroy": "tried last",
    "migrate": "it looks for the VM on all workers",
    "export": "no worker is contacted",
    "inventory": "no worker is contacted",
    "cloud-init.show": "no worker is contacted",
    "from-libvirt": "it names VMs of libvirt",
    "history": "what was done on a worker stays there",
    "place": "it is about VMs without a worker",
}


def test_no_task_with_a_vm_is_forgotten() -> None:
    takes = {
        name: [arg.name for arg in ns[name].get_arguments() if arg.name in ("vm", "source")]
        for name in ns.task_names
    }
    tried = {case.words[0] for chain in CHAINS.values() for case in chain}
    tried |= {words[0] for words in LONG.values()} | NOT_TRIED.keys()
    missing = {name for name, found in takes.items() if found} - tried
    assert missing == set()


def test_the_whole_of_hosts_toml_while_a_worker_is_drained(somebody: Operator) -> None:
    somebody.ok("launch", "--vm", "one")
    said = somebody.fab("drain", "--cold", "--force", "--worker", "worker1")
    assert said.code == 0, said
    assert "web1: port 5901, its vnc_port, is another's on worker2" in said.err
    assert "web2: port" not in said.err
    assert somebody.qemus("worker1") == {}
    chain = somebody.ok("up", "status")
    away = "2 VMs (web1, web2) are on other workers, as worker1 is drained; back: fab undrain"
    assert away in chain.err
    assert len(re.findall("web. +worker2 +already runs", chain.out)) == 2
    assert len(re.findall("web. +worker2 +running belongs on worker1", chain.out)) == 2
    assert "stopped" not in chain.out
    (drawn,) = [w for w in somebody.ok("graph", "--format", "json").json["workers"] if w["vms"]]
    assert {vm["state"] for vm in drawn["vms"]} == {"running"}
    # What --worker means is what is there: this ends nothing on worker2.
    here = somebody.ok("down", "--worker", "worker1", "--force")
    assert here.out.count("was not there") == 3
    assert len(somebody.qemus("worker2")) == 4
    somebody.ok("down", "--force", "--yes")
    assert somebody.qemus("worker2") == {}
    somebody.ok("destroy", "--vm", "web2", "--yes")
    for words in (("launch", "--vm", "web2"), ("restart", "--vm", "web2")):
        refused = somebody.fab(*words)
        assert (refused.code, "web2 is not started: worker1 is drained" in refused.err) == (1, True)
    for task in ("status", "ps"):
        assert "worker1 is drained, and gets no VM: fab undrain" in somebody.ok(task).err
    somebody.ok("undrain", "--worker", "worker1")
    assert "worker1 was not drained" in somebody.ok("undrain", "--worker", "worker1").err
    somebody.ok("up")
    assert set(somebody.qemus("worker1")) == {"web1", "web2"}
    assert set(somebody.qemus("worker2")) == {"db", "one"}


def test_a_vm_that_shares_its_line_of_hosts_toml_and_goes_paused(somebody: Operator) -> None:
    somebody.ok("up")
    somebody.ok("pause", "--vm", "web1")
    said = somebody.ok(*MOVE, "--vm", "web1", "--to", "worker2")
    assert "if it is to stay: take worker = " in said.err
    (found,) = somebody.ok("status", "--vm", "web1", "--format", "json").json
    assert (found["state"], found["worker"], found["home"]) == ("paused", "worker2", "worker1")
    there = somebody.ok("-H", "worker1", "stop", "--vm", "web1")
    assert "it was moved from worker1 to worker2; its tasks find it" in there.err
    refused = somebody.fab("-H", "worker1", "destroy", "--vm", "web1", "--yes")
    assert (refused.code, "web1: it was moved from worker1 to worker2" in refused.err) == (1, True)
    forgotten = somebody.ok("-H", "worker1", "destroy", "--vm", "web1", "--yes", "--here")
    assert "web1 on worker1: forgotten that it was moved" in forgotten.err
    somebody.ok("-H", "worker2", "stop", "--vm", "web1", "--elsewhere", "--force")


def test_one_that_is_destroyed_where_it_is_begins_anew_at_home(moved: Operator) -> None:
    said = moved.ok("destroy", *NAMED, "--yes", "--force")
    assert "one on worker2: removed" in said.err
    moved.ok("launch", *NAMED)
    assert "one" in moved.qemus("worker1")


def test_where_it_went_cannot_be_asked_and_two_of_it_are_both_seen(somebody: Operator) -> None:
    if "one" not in somebody.qemus("worker2"):
        somebody.ok("launch", *NAMED)
        somebody.ok(*MOVE, *NAMED, "--to", "worker2")
    somebody.lab.fault("worker2", "drop")
    try:
        for words in (("status",), ("status", *NAMED), ("ps",)):
            said = somebody.fab(*words)
            assert said.code == 3, said
            assert re.search("^one +worker2 +unknown belongs on worker1", said.out, re.M), said
        assert somebody.fab("stop", *NAMED).code == 3
    finally:
        somebody.lab.heal("worker2")
    there = somebody.fab("-H", "worker1", "status", *NAMED, "--format", "json")
    assert (there.code, there.json[0]["state"]) == (1, "unknown")
    assert "it was moved from worker1 to worker2" in there.json[0]["error"]
    for task in ("status", "ps"):
        listed = somebody.ok("-H", "worker1", task)
        assert not re.search("^one ", listed.out, re.M), listed
        assert "one: it was moved from worker1 to worker2" in listed.err
    somebody.ok("-H", "worker1", "destroy", *NAMED, "--yes", "--here")
    somebody.ok("-H", "worker1", "launch", *NAMED)
    both = somebody.ok("status")
    assert re.findall("^one +(worker[12]) +running", both.out, re.M) == ["worker1", "worker2"]
    later = "one runs on worker1 and on worker2, and started later on worker1; to end one: "
    assert later in both.err
    somebody.ok("-H", "worker2", "stop", *NAMED, "--elsewhere", "--force")


def test_a_worker_that_hosts_toml_has_lost_is_one_that_cannot_be_asked(somebody: Operator) -> None:
    somebody.on("worker2", "rm", "-rf", FOLDER)
    somebody.ok("launch", *NAMED)
    somebody.ok(*MOVE, *NAMED, "--to", "worker2")
    text = somebody.hosts_toml.read_text()
    without = re.sub(r"(?s)\[workers\.worker2\].*?(?=^\[)", "", text, flags=re.M)
    somebody.hosts_toml.write_text(re.sub(r"(?s)\[vms\.db\].*?(?=^\[)", "", without, flags=re.M))
    try:
        for words in (("stop", *NAMED, "--force"), ("status",), ("up", *NAMED), ("pid", *NAMED)):
            said = somebody.fab(*words)
            assert said.code == 3, said
            assert "worker2: it cannot be asked, as hosts.toml does not have it" in said.err
    finally:
        somebody.hosts_toml.write_text(text)
    assert "one" in somebody.qemus("worker2")
