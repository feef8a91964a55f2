"""What a user could write is refused, or arrives as one argument; it is never executed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from posixpath import dirname

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmops import RemoteExecutor, VMLauncher, load
from vmops.lab import Lab

from .operator import Operator, small_vm

HOSTILE_IMAGES = [
    "comma, and ,,two",
    "quote ' and \" and `id`",
    "$(touch /tmp/pwned) ${HOME} $PATH",
    "; touch /tmp/pwned #",
    "back\\slash \\n & | > <",
    "file=x,format=raw,if=none",
    "json:{}",
    "nbd:localhost:1",
    "-daemonize",
    "*?[a-z]",
    "ünïcödé 漢字",
    " leading and trailing ",
]

HOSTILE_NAMES = [
    "a;id",
    "$(id)",
    "a b",
    "-x",
    "../x",
    ".",
    "a/b",
    "a,b",
    "vm1\n",
    "",
    "x" * 64,
    "é",
]


@pytest.mark.parametrize("image", HOSTILE_IMAGES)
def test_an_image_path_is_one_argument(operator: Operator, image: str) -> None:
    vm = replace(small_vm("vm1", 1, 101), qcow_image=f"~/vm_images/{image}")
    operator.add(vm, image=False)
    path = f"/home/ubuntu/vm_images/{image}"
    as_ubuntu = ("runuser", "-u", "ubuntu", "--")
    operator.on("worker1", *as_ubuntu, "mkdir", "-p", dirname(path))
    operator.on("worker1", *as_ubuntu, "qemu-img", "create", "-q", "-f", "qcow2", path, "1M")
    operator.ok("launch", "--vm", "vm1")
    pid = operator.qemus("worker1")["vm1"]
    opened = operator.on("worker1", "sh", "-c", f"readlink /proc/{pid}/fd/*").splitlines()
    assert path in opened
    assert operator.ok("status", "--format", "json").json[0]["drift"] == []
    assert "pwned" not in operator.on("worker1", "ls", "/tmp")
    operator.ok("stop", "--force", "--vm", "vm1")


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("field", ["vm", "interface"])
def test_a_hostile_name_is_refused_before_anything_is_contacted(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, name: str, field: str
) -> None:
    monkeypatch.setenv("VMOPS_HOSTS", str(operator.hosts_toml))
    vm = small_vm("vm1", 1, 101).to_dict()
    if field == "vm":
        vm["name"] = name
    else:
        vm["interfaces"][0]["name"] = name
    before = [worker.connections for worker in operator.lab.status().workers]
    launcher = VMLauncher(RemoteExecutor())
    assert launcher.launch_vm(operator.address("worker1"), vm) == (False, None)
    assert [worker.connections for worker in operator.lab.status().workers] == before


@pytest.fixture(scope="module")
def executor(lab: Lab) -> tuple[RemoteExecutor, str]:

    host = next(worker.address for worker in lab.status().workers)
    return RemoteExecutor(inventory=load(lab.inventory)), host


words = st.text(st.characters(blacklist_characters="\0", codec="utf-8"))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(words, max_size=4))
def test_any_arguments_of_a_script_arrive_as_they_are(
    executor: tuple[RemoteExecutor, str], tmp_path: Path, args: list[str]
) -> None:
    run, host = executor
    script = tmp_path / "script"
    script.write_text('printf \'%s\\0\' "$#" "$@"\n')
    ok, out = run.execute(host, str(script), args=args)
    assert ok, out
    assert out.split("\0")[:-1] == [str(len(args)), *args]
