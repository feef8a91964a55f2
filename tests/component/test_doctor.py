"""What `doctor` finds on a worker that lacks something. The fake worker is this machine itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fabric
import pytest

from tests.unit.worlds import VM1
from vmops.core.model import VM
from vmops.ops.doctor import Check, Report, examine
from vmops.ops.route import Route

from .fake_worker import FakeWorker

Start = Callable[..., FakeWorker]


@pytest.fixture
def look(start: Start, config: fabric.Config) -> Callable[..., Report]:
    fake = start()
    return lambda *vms: examine(Route(fake.worker(), config), vms)


def named(report: Report, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


def vm_at(image: str) -> VM:
    return VM.from_dict(VM1.to_dict() | {"qcow_image": image})


def test_an_image_folder_that_is_missing(look: Callable[..., Report], home: Path) -> None:
    check = named(look(vm_at("~/nowhere/vm1.qcow2")), "folder ~/nowhere")
    assert not check.ok
    assert "No such file" in check.found
    assert check.cure == "there: mkdir -p ~/nowhere"


def test_an_image_folder_has_its_free_disk(look: Callable[..., Report], home: Path) -> None:
    check = named(look(vm_at("~/vm1.qcow2")), "folder ~")
    assert check.found.endswith("MiB free"), check
