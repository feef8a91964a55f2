"""What is offered behind the words that are typed so far."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest

from vmops.lab.relay import FAULTS
from vmops.tasks import ns
from vmops.tasks.program import program
from vmops.tasks.typed import completer
from vmops.tasks.typed.completion import words_of

CONTEXTS = deepcopy(ns).to_contexts()
"""Invoke takes the help away from a task that it has made the options of."""

UNNAMED = {("from-libvirt", "vm"), ("lab.up", "network"), ("lab.up", "workers")}
"""Options that are called as others are and name nothing of hosts.toml."""

WORDS = words_of(deepcopy(ns), [*program.core_args(), *program.task_args()])
HOSTS = """
[workers.worker1]
address = "192.0.2.1"
[workers.worker2]
address = "192.0.2.2"
[vms.web1]
worker = "worker1"
[vms.web2]
worker = "worker2"
[vms.db]
[vms."a b"]
"""


@pytest.fixture(autouse=True)
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VMOPS_HOSTS", raising=False)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hosts.toml"
    path.write_text(HOSTS)
    return path


def offered(*typed: str) -> list[str]:
    *before, current = typed
    return list(completer.candidates(json.loads(WORDS), before, current))


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        pytest.param(["sta"], ["status"], id="task"),
        pytest.param(["lab.u"], ["lab.up"], id="task-of-a-collection"),
        pytest.param(["status", "--vm", "db", "lau"], ["launch"], id="next-task"),
        pytest.param(["--dry", "-H", "worker1", "lau"], ["launch"], id="behind-own-options"),
        pytest.param(["launch", "--str"], ["--strict"], id="option"),
        pytest.param(["launch", "--vm", "w"], ["web1", "web2"], id="vm"),
        pytest.param(["launch", "--vm=w"], ["--vm=web1", "--vm=web2"], id="vm-behind-equals"),
        pytest.param(["launch", "--vm", "web1,"], ["web1,web2", "web1,db"], id="next-of-a-list"),
        pytest.param(["launch", "--strict", "--vm", "d"], ["db"], id="option-without-value"),
        pytest.param(["status", "--worker", ""], ["worker1", "worker2"], id="worker"),
        pytest.param(["-H", "worker2"], ["worker2"], id="host"),
        pytest.param(["--hosts=worker1"], ["--hosts=worker1"], id="host-behind-equals"),
        pytest.param(["status", "--format", ""], ["text", "json"], id="format"),
        pytest.param(["export", "--format", "l"], ["libvirt"], id="format-of-its-own"),
        pytest.param(["graph", "--format=d"], ["--format=dot", "--format=d2"], id="format-equals"),
        pytest.param(["wait", "--state", "r"], ["running", "ready"], id="one-of-a-few-words"),
        pytest.param(["stop", "-v", "d"], ["db"], id="behind-a-letter"),
        pytest.param(["status", "-w", ""], ["worker1", "worker2"], id="worker-behind-a-letter"),
        pytest.param(["screenshot", "--output", ""], [], id="a-file-is-for-the-shell"),
        pytest.param(["run", ""], [], id="a-command-is-for-the-shell"),
        pytest.param(["lab.fault", ""], ["worker1", "worker2"], id="argument-that-is-a-worker"),
        pytest.param(["lab.fault", "worker1", "f"], ["freeze"], id="argument-out-of-a-few"),
        pytest.param(["lab.fault", "--worker", "w", "d"], ["drop"], id="argument-given-by-name"),
        pytest.param(["lab.fault", "--toward", "w"], ["worker"], id="whose-bytes"),
        pytest.param(["lab.up", "--network", ""], [], id="a-network-of-addresses"),
        pytest.param(["from-libvirt", "--vm", ""], [], id="a-domain-of-a-libvirt"),
        pytest.param(["run", "id", "doc"], ["doctor"], id="behind-a-command"),
        pytest.param(["status", "--nonsense", "lau"], ["launch"], id="unknown-option"),
    ],
)
def test_what_may_follow(typed: list[str], found: list[str]) -> None:
    assert offered(*typed) == found


NAMING = """
[workers.w1]
address = "192.0.2.1"
[images.deb]
file = "deb.qcow2"
[networks.blue]
vlan_id = 100
[vm_defaults]
interfaces = [{ name = "eth9" }]
[templates.router]
interfaces = [{ name = "eth1" }, { name = "eth2" }]
[vms.anna]
count = 2
interfaces = [{ name = "eth0" }]
[vms.bert]
template = "router"
[vms.carl]
[topologies.ring]
count = 2
shape = "line"
template = "router"
[[links]]
ends = ["bert:eth7", "carl:eth7"]
"""
VMS = ["anna1", "anna2", "bert", "carl", "ring1", "ring2"]
INTERFACES = {
    "anna1": ["eth0"],
    "anna2": ["eth0"],
    "bert": ["eth1", "eth2", "eth7"],
    "carl": ["eth9", "eth7"],
    "ring1": ["eth1", "eth2"],
    "ring2": ["eth1", "eth2"],
}
PAIRS = [f"{vm}:{name}" for vm, names in INTERFACES.items() for name in names]
OFFERED = {
    "vms": VMS,
    "workers": ["w1"],
    "images": ["deb"],
    "networks": ["blue"],
    "interfaces": PAIRS,
    "ends": [word for vm in VMS for word in (vm, *(p for p in PAIRS if p.startswith(f"{vm}:")))],
}
KINDS = [
    (str(context.name), f"--{name}", names)
    for context in CONTEXTS
    for name, names in getattr(ns[context.name], "named", {}).items()
    if names
]


@pytest.mark.parametrize(("task", "option", "kind"), KINDS)
def test_each_option_that_names_something_offers_it(
    hosts: Path, task: str, option: str, kind: str
) -> None:
    hosts.write_text(NAMING)
    assert offered(task, option, "") == OFFERED[kind]


def test_no_option_that_names_something_is_left_out() -> None:
    assert {kind for _, _, kind in KINDS} == set(completer.NAMED)
    without = {
        (str(context.name), name)
        for context in CONTEXTS
        for name in ("vm", "worker", "workers", "image", "network", "to", "from")
        if name in context.args and not ns[context.name].named[name]
    }
    assert without == UNNAMED


def test_an_interface_is_offered_behind_its_vm(hosts: Path) -> None:
    hosts.write_text(NAMING)
    assert offered("nic.down", "--vm", "bert:") == ["bert:eth1", "bert:eth2", "bert:eth7"]
    assert run("bash", "vmops", "ping", "--to", "bert", ":") == ["eth1", "eth2", "eth7"]
    assert run("bash", "vmops", "ping", "--to", "=", "bert", ":", "eth1") == ["eth1"]
    assert run("zsh", "vmops", "ping", "--to=bert:eth1") == ["--to=bert:eth1"]


@pytest.mark.parametrize(
    "text",
    [
        "vms = 5",
        "links = [5]\n[vms.a]\ninterfaces = [5]",
        "[vms.a]\ntemplate = []",
        "[[links]]\nends = [5]\n[vms.a]\ninterfaces = [{ name = 5 }]",
    ],
)
def test_interfaces_that_are_none_are_not_offered(hosts: Path, text: str) -> None:
    hosts.write_text(text)
    assert offered("nic.down", "--vm", "") == []


def test_the_faults_of_a_lab_are_those_that_it_knows() -> None:
    assert offered("lab.fault", "--kind", "") == list(FAULTS)


def test_all_tasks_and_all_options_are_offered() -> None:
    assert set(offered("")) == set(ns.task_names)
    for context in CONTEXTS:
        long = {flag for flag in context.flag_names() if flag.startswith("--")}
        words = ["x"] * len(context.positional_args)
        assert set(offered(str(context.name), *words, "--")) == long


def test_a_file_that_is_being_edited_gives_the_names_that_it_has(hosts: Path) -> None:
    hosts.write_text(HOSTS + "\n[vms.new1]\nvm_id = \n[[vms.new1.interfaces]]\nname = 'x")
    assert offered("launch", "--vm", "") == ["web1", "web2", "db", "new1"]


@pytest.mark.parametrize("text", ["", "vms = 5", "[vms]\nx = 5", "\x00", "a = " + "[" * 5000])
def test_whatever_hosts_toml_holds_nothing_is_raised(hosts: Path, text: str) -> None:
    hosts.write_text(text)
    assert offered("launch", "--vm", "") in ([], ["x"])


def test_vms_that_are_counted_have_their_numbers(hosts: Path) -> None:
    hosts.write_text("[vms.web]\ncount = 3\n[vms.odd]\ncount = 'x'\n")
    assert offered("launch", "--vm", "") == ["web1", "web2", "web3", "odd"]


def test_hosts_toml_is_found_as_the_tasks_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fabfile.py").write_text("from vmops.tasks import ns\n")
    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert offered("launch", "--vm", "d") == ["db"]
    (below / "mine.toml").write_text("[vms.mine]\n")
    monkeypatch.setenv("VMOPS_HOSTS", "mine.toml")
    assert offered("launch", "--vm", "") == ["mine"]
    monkeypatch.setenv("VMOPS_HOSTS", "/dev/stdin")
    assert offered("launch", "--vm", "") == []


@pytest.mark.parametrize(
    ("program", "fabfile", "foreign"),
    [
        ("vmops", None, False),
        ("fab", None, True),
        ("fab", "from vmops.tasks import ns\n", False),
        ("/usr/bin/fab", '"""Doc."""\n\nfrom vmops.tasks import ns\n__all__ = ["ns"]\n', False),
        ("fab", "from vmops.tasks import ns\n@task\ndef mine(c): ...\n", True),
        ("fab", "from vmops import tasks\nns = Collection(vm=tasks.ns)\n", True),
    ],
)
def test_a_fabfile_with_other_tasks_is_asked(
    tmp_path: Path, program: str, fabfile: str | None, foreign: bool
) -> None:
    if fabfile:
        (tmp_path / "fabfile.py").write_text(fabfile)
    assert completer.is_foreign(program) is foreign


def run(shell: str, *typed: str) -> list[str]:
    argv = [sys.executable, "-I", "-S", completer.__file__, shell, WORDS, *typed]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    return ran.stdout.splitlines()


@pytest.mark.parametrize("named", ["mine.toml", "~/mine.toml", "~nobody-of-that-name/mine.toml"])
def test_a_process_of_its_own_reads_vmops_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    (tmp_path / "mine.toml").write_text("[vms.mine]\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VMOPS_HOSTS", named)
    wanted = [] if named.startswith("~nobody") else ["mine"]
    assert run("bash", "vmops", "launch", "--vm", "") == wanted


def test_bash_cuts_words_at_an_equals_sign() -> None:
    assert run("bash", "vmops", "launch", "--vm", "=", "w") == ["web1", "web2"]
    assert run("bash", "vmops", "launch", "--vm", "=") == ["web1", "web2", "db"]
    assert run("bash", "vmops", "launch", "--vm", "=", "db", "--str") == ["--strict"]


def test_fish_shows_what_a_name_is() -> None:
    assert run("fish", "vmops", "launch", "--vm", "w") == ["web1\tworker1", "web2\tworker2"]
    (status,) = run("fish", "vmops", "statu")
    assert status.startswith("status\t")


def test_a_tab_loads_neither_invoke_nor_fabric_nor_vmops() -> None:
    code = (
        "import runpy, sys; sys.argv[1:] = ['bash', '{\"core\":{},\"tasks\":{}}', 'vmops', '']\n"
        f"runpy.run_path({completer.__file__!r}, run_name='__main__')\n"
        "assert not {'invoke', 'fabric', 'vmops', 'asyncio'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True, timeout=30)
