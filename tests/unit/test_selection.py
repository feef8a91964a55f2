"""Which VMs on which workers the options of a task mean, before anything is contacted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fabric
import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from vmops.errors import InventoryError
from vmops.tasks import worker
from vmops.tasks.frame.selection import groups_of_vms, groups_with_lost, inventory_path
from vmops.tasks.vm import fleet, status

VM = '[vms.{0}]\nvm_id = {1}\nram_mb = 1\ncores = 1\nvnc_port = 590{1}\nqcow_image = "/{1}"\n'
HOSTS = "\n".join(
    (
        *(f'[workers.worker{n}]\naddress = "127.0.0.{n}"\n' for n in (1, 2)),
        VM.format("vm1", 1) + 'worker = "worker1"',
        VM.format("vm2", 2) + 'worker = "worker2"',
        VM.format("free", 3),
    )
)


@pytest.fixture(autouse=True)
def _hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts.toml").write_text(HOSTS)
    monkeypatch.setenv("VMOPS_HOSTS", str(tmp_path / "hosts.toml"))


def call(host: str = "") -> Any:
    """What a task gets from `fab --dry`, with -H and without."""
    config = fabric.Config(overrides={"run": {"dry": True}})
    return fabric.Connection(host, config=config) if host else Context(config=config)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        pytest.param(status.status, {}, id="status"),
        pytest.param(status.status, {"vm": "vm1"}, id="status-of-a-vm"),
        pytest.param(status.ps, {}, id="ps"),
        pytest.param(worker.doctor, {}, id="doctor"),
        pytest.param(worker.run, {"command": "true"}, id="run"),
        pytest.param(worker.script, {"path": "/dev/null"}, id="script"),
        pytest.param(fleet.up, {}, id="up"),
        pytest.param(fleet.plan, {}, id="plan"),
        pytest.param(fleet.down, {"vm": "vm1"}, id="down"),
    ],
)
def test_a_worker_is_named_once(
    task: Any, words: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exit) as ended:
        task(call("worker1"), worker="worker2", **words)
    assert ended.value.code == 2
    assert "-H and --worker both say where" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "places"),
    [
        pytest.param({"vm": "vm1"}, ["worker1"], id="its-own"),
        pytest.param({"vm": "vm*", "worker": "worker2"}, ["worker2"], id="what-both-mean"),
        pytest.param({"vm": "free"}, ["worker1", "worker2"], id="pinned-nowhere"),
        pytest.param({"worker": "worker2,worker2"}, ["worker2"], id="named-twice"),
        pytest.param({}, ["worker1", "worker2"], id="all"),
    ],
)
def test_where_status_looks(
    words: dict[str, str], places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status.status(call(), **words)
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if line.startswith("# on ") and line.endswith("as root:")]
    assert [line.split()[2] for line in heads] == places


def test_a_vm_that_is_not_on_that_worker(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit) as ended:
        status.status(call(), vm="vm1", worker="worker2")
    assert ended.value.code == 2
    assert "no VM matching 'vm1' is on worker2" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["bad..name.invalid", "a" * 64])
def test_a_host_that_no_name_service_could_know(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exit) as ended:
        status.status(call(host))
    assert ended.value.code == 2
    assert "there is no worker" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "words", "said"),
    [
        pytest.param(worker.script, {"args": "'unclosed"}, "--args", id="unclosed-quote"),
        pytest.param(worker.script, {"timeout": 0}, "--timeout 0", id="script-without-time"),
        pytest.param(worker.run, {"timeout": -1}, "--timeout -1", id="run-without-time"),
    ],
)
def test_words_of_run_and_script_that_cannot_be(
    task: Any, words: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = {"path": "/dev/null"} if task is worker.script else {"command": "true"}
    with pytest.raises(Exit) as ended:
        task(call("worker1"), **subject, **words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_vm_elsewhere_needs_a_place() -> None:
    (group,) = groups_of_vms(call("worker2"), "vm1", task="stop", elsewhere=True)
    assert (group.route.worker.name, group.vms[0].name) == ("worker2", "vm1")
    with pytest.raises(InventoryError, match="--elsewhere"):
        groups_of_vms(call(), "vm1", task="stop", elsewhere=True)
    with pytest.raises(InventoryError, match="pinned to worker worker1"):
        groups_of_vms(call("worker2"), "vm1", task="stop")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        pytest.param("gone", ("gone",), id="lost"),
        pytest.param("gone,vm2,gone", ("vm2", "gone"), id="lost-and-listed"),
        pytest.param("vm2", ("vm2",), id="listed"),
    ],
)
def test_a_vm_that_hosts_toml_lost_is_named_where_h_says(
    pattern: str, names: tuple[str, ...]
) -> None:
    (found,) = groups_with_lost(call("worker2"), pattern, task="logs")
    assert (found.route.worker.name, tuple(vm.name for vm in found.vms)) == ("worker2", names)


@pytest.mark.parametrize(
    ("host", "pattern"),
    [("", "gone"), ("worker2", "gone*"), ("worker2", "../etc"), ("worker2", "")],
)
def test_without_a_place_or_a_whole_name_it_is_a_mistake(host: str, pattern: str) -> None:
    with pytest.raises(InventoryError):
        groups_with_lost(call(host), pattern, task="logs")


@pytest.mark.parametrize(
    ("task", "words"),
    [
        pytest.param(status.status, {}, id="status"),
        pytest.param(status.status, {"vm": "vm1,vm2"}, id="status-of-vms"),
        pytest.param(status.ps, {}, id="ps"),
        pytest.param(fleet.up, {"vm": "vm1,vm2"}, id="up"),
        pytest.param(fleet.plan, {"vm": "vm1,vm2"}, id="plan"),
        pytest.param(fleet.down, {"vm": "vm1,vm2"}, id="down"),
    ],
)
def test_no_more_workers_are_connected_to_early_than_parallel_says(
    task: Any,
    words: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def told(groups: Any, *, parallel: int) -> None:
        raise InventoryError(f"{len(groups)} workers, {parallel} at once")

    monkeypatch.setattr("vmops.ops.fleet.connect_early", told)
    with pytest.raises(Exit):
        task(Context(config=fabric.Config()), parallel=1, **words)
    assert "2 workers, 1 at once" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.10.1", "127.0.99.2", "127.0.99.2:2222"])
def test_h_finds_the_lab_that_vmops_lab_dir_names(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VMOPS_HOSTS")
    lab = tmp_path / "lab"
    lab.mkdir()
    monkeypatch.setenv("VMOPS_LAB_DIR", str(lab))
    network = host.rpartition(".")[0]
    (lab / "hosts.toml").write_text(f'[workers.worker1]\naddress = "{network}.1"\n')
    assert inventory_path(call(host)) == lab / "hosts.toml"


def test_h_of_a_lab_that_is_not_found_says_where_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VMOPS_HOSTS")
    (tmp_path / "hosts.toml").unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VMOPS_LAB_DIR", str(tmp_path / "none"))
    with pytest.raises(
        InventoryError, match=r"no lab in .*none has a worker 127\.0\.99\.2"
    ) as told:
        inventory_path(call("127.0.99.2"))
    assert "export VMOPS_HOSTS=" in told.value.cure
    assert inventory_path(call("10.1.1.1")) == tmp_path / "hosts.toml"
