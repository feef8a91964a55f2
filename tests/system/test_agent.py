"""Programs, files and addresses of a guest, by a real guest agent in it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.guests import agent_image, boot_sector_image, cache_directory, linux_address
from vmops.core.images.names import Base
from vmops.core.inventory.model import VM
from vmops.core.names import RunDirectory
from vmops.inventory_file import load
from vmops.remote.image.image_file import ImageFile
from vmops.remote.image.transfer import push

from .lab_helpers import wait_until
from .operator import Operator, small_vm


def images(operator: Operator) -> None:
    """worker1 has the Linux with an agent, and the boot sector, which has none."""
    files = {
        "agent": agent_image(cache_directory()),
        "none": boot_sector_image(cache_directory()),
    }
    operator.extra = "\n".join(
        f"[images.{name}]\nfile = {json.dumps(str(file))}" for name, file in files.items()
    )
    operator.write()
    worker = load(operator.hosts_toml).workers["worker1"]
    for file in files.values():
        with ImageFile(file) as image:
            push(worker, image, base=Base(image.digest(), "qcow2"))


@pytest.fixture
def web(operator: Operator) -> Iterator[VM]:
    """A VM whose agent listens."""
    images(operator)
    vm = replace(small_vm("web1", 1, 101, ram_mb=128), qcow_image="", image="agent")
    operator.add(vm, image=False)
    operator.ok("launch", "--vm", "web1")
    wait_until(lambda: bool(_status(operator)["agent"]), seconds=60)
    yield vm
    operator.on("worker1", "rm", "-rf", "/home/ubuntu/vm_images/.vmops")


def _status(operator: Operator, vm: str = "web1") -> dict[str, Any]:
    return dict(operator.ok("status", "--vm", vm, "--format", "json").json[0])


def test_programs_files_and_addresses(operator: Operator, web: VM, tmp_path: Path) -> None:
    mode = operator.on("worker1", "stat", "-c", "%U %a", RunDirectory("web1").agent)
    assert mode.startswith("root "), "who may talk to it is root in that guest"
    found = operator.fab("exec", "--vm", "web1", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (found.code, found.out) == (7, "out\n")
    assert found.err.startswith("err\n")
    said = operator.ok("exec", "--vm", "web1", "--", "printf", "%s|", "a b", "$HOME", "'", "--vm")
    assert said.out == "a b|$HOME|'|--vm|"
    (found_json,) = operator.fab(
        "exec", "--vm", "web1", "--format", "json", "--", "sh", "-c", "kill -9 $$"
    ).json
    assert (found_json["exit_code"], found_json["error"]) == (137, None)
    missing = operator.fab("exec", "--vm", "web1", "--", "/no/such")
    assert missing.code == 1
    assert "its guest agent refuses" in missing.err
    since = time.monotonic()
    late = operator.fab("exec", "--vm", "web1", "--timeout", "1", "--", "sleep", "60")
    assert late.code == 1
    assert "has not ended within 1 s, and goes on in the guest" in late.err
    assert time.monotonic() - since < 30

    data = bytes(range(256)) * 12_000
    here = tmp_path / "here"
    here.write_bytes(data)
    here.chmod(0o640)
    operator.ok("cp", str(here), "web1:/tmp/there")
    assert operator.ok("exec", "--vm", "web1", "--", "stat", "-c", "%s %a", "/tmp/there").out == (
        f"{len(data)} 640\n"
    )
    operator.ok("cp", "web1:/tmp/there", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data
    refused = operator.fab("cp", "web1:/etc/inittab", str(tmp_path / "back"))
    assert (refused.code, "exists already" in refused.err) == (2, True)
    assert (tmp_path / "back").read_bytes() == data
    operator.ok("cp", "--force", "web1:/etc/inittab", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text().startswith("::sysinit")
    operator.ok("cp", "web1:/etc/inittab", str(tmp_path))
    assert (tmp_path / "inittab").read_text().startswith("::sysinit")
    onto = operator.fab("cp", str(here), "web1:/tmp")
    assert onto.code == 1
    assert "name the file in it: web1:/tmp/here" in onto.err
    left = operator.ok("exec", "--vm", "web1", "--", "sh", "-c", "ls -a / /tmp").out
    assert "vmops-part" not in left
    for words in (("web1:/no/such", "x"), (str(here), "web1:/no/such/folder/x")):
        failed = operator.fab("cp", *words)
        assert failed.code == 1
        assert "No such file" in failed.err
    endless = operator.fab("exec", "--vm", "web1", "--", "head", "-c", "6000000", "/dev/zero")
    assert endless.code == 1
    assert "says too much" in endless.err

    status = _status(operator)
    mac = web.nics[0].mac
    assert status["addresses"] == [
        {"interface": "eth1", "address": f"{linux_address(mac)}/16", "mac": mac}
    ]
    assert f"eth1:101 {linux_address(mac)}/16" in operator.ok("status", "--vm", "web1").out


def test_a_guest_without_an_agent_is_told_at_once(operator: Operator) -> None:
    images(operator)
    operator.add(replace(small_vm("web2", 2), qcow_image="", image="none"), image=False)
    operator.add(small_vm("vm3", 3))
    operator.ok("launch", "--vm", "web2,vm3")
    since = time.monotonic()
    said = operator.fab("exec", "--vm", "web2,vm3", "--", "true")
    assert time.monotonic() - since < 20
    assert said.code == 1
    assert "no guest agent answers in it" in said.err
    assert "its QEMU was started without a port for a guest agent" in said.err
    assert (_status(operator, "web2")["agent"], _status(operator, "vm3")["agent"]) == (False, None)
    assert operator.fab("exec", "--vm", "vm3").code == 2
    operator.on("worker1", "rm", "-rf", "/home/ubuntu/vm_images/.vmops")
