"""launch and up bring the images that VMs need, before any of them starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.guests import boot_sector_image, cache_directory
from vmops.core.inventory.model import VM

from .operator import Operator, small_vm

FOLDER = "/home/ubuntu/vm_images/.vmops"
WORKERS = ("worker1", "worker2")


@pytest.fixture
def images(operator: Operator) -> Iterator[Operator]:
    """hosts.toml with the boot sector as an image; no worker has it."""
    file = boot_sector_image(cache_directory())
    operator.extra = f"[images.small]\nfile = {json.dumps(str(file))}\n"
    operator.write()
    yield operator
    for worker in WORKERS:
        operator.on(worker, "rm", "-rf", FOLDER)


def of_image(name: str, number: int) -> VM:
    return replace(small_vm(name, number), qcow_image="", image="small")


def there(operator: Operator, worker: str) -> list[str]:
    return operator.on(worker, "sh", "-c", f"ls {FOLDER} 2>/dev/null || :").split()


def test_a_launch_brings_the_image_once_and_says_so(images: Operator) -> None:
    images.add(of_image("web1", 21), image=False)
    images.add(of_image("web2", 22), image=False)
    planned = images.fab("plan")
    assert planned.code == 4
    assert "its image small is brought there first" in planned.err
    assert there(images, "worker1") == []
    first = images.ok("launch", "--vm", "web1")
    assert "small on worker1: " in first.err
    assert "web1 on worker1: runs" in first.out
    second = images.ok("launch", "--vm", "web2")
    assert "small on worker1" not in second.err
    assert len([name for name in there(images, "worker1") if name.startswith("base-")]) == 1


def test_up_brings_it_to_every_worker_that_lacks_it(images: Operator) -> None:
    images.add(of_image("web1", 21), image=False)
    images.add(of_image("web2", 22), "worker2", image=False)
    said = images.ok("up", "--format", "json")
    assert all(f"small on {worker}: " in said.err for worker in WORKERS)
    assert [one["error"] for one in said.json] == [None, None]
    assert set(images.qemus("worker1")) == {"web1"}
    assert set(images.qemus("worker2")) == {"web2"}


def test_no_push_refuses_with_the_command_that_brings_it(images: Operator) -> None:
    images.add(of_image("web1", 21), image=False)
    for words in (("launch", "--vm", "web1"), ("up",)):
        said = images.fab(*words, "--no-push")
        assert said.code == 1
        assert "fab image.push --image small" in said.err
    assert there(images, "worker1") == []


def test_an_image_that_cannot_be_brought_stops_only_the_vms_that_need_it(
    images: Operator, tmp_path: Path
) -> None:
    url = "http://127.0.0.1:1/none"
    images.extra += f'[images.far]\nurl = "{url}"\nsha256 = "{"0" * 64}"\n'
    images.add(replace(of_image("web1", 21), image="far"), image=False)
    images.add(of_image("web2", 22), image=False)
    said = images.fab("up", "--format", "json")
    errors = {one["vm"]: one["error"] for one in said.json}
    assert said.code == 1
    assert "could not be fetched" in errors["web1"]
    assert errors["web2"] is None
    assert set(images.qemus("worker1")) == {"web2"}


def test_a_dry_run_says_what_it_would_bring(images: Operator) -> None:
    images.add(of_image("web1", 21), image=False)
    said = images.ok("--dry", "launch", "--vm", "web1")
    assert "# send " in said.out
    assert "unless it is there" in said.out
    assert there(images, "worker1") == []
