"""What `doctor` finds on a worker that lacks something. The fake worker is this machine itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fabric
import pytest

from tests.unit.worlds import EMPTY, VM1, WORKER
from vmops.core.facts.images import store
from vmops.core.facts.question import Answers
from vmops.core.images.names import FOLDER, Base
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import VM, Settings
from vmops.core.inventory.networks.model import Network
from vmops.core.plan import health
from vmops.core.plan.health import Check
from vmops.core.script.command import BlockResult, Step, StepResult
from vmops.ops.route import Route
from vmops.ops.worker.doctor import Health, compared, examine

from .fake_worker import FakeWorker
from .test_exchange import SUDO, install_sudo

Start = Callable[..., FakeWorker]


@pytest.fixture
def look(start: Start, config: fabric.Config) -> Callable[..., Health]:
    fake = start()

    def look_at(*vms: VM, **settings: str) -> Health:
        return examine(Route(fake.worker(**settings), config), vms)

    return look_at


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"uplink": "vmopsnone"}, "there is no device vmopsnone to go out by"),
        ({"uplink": "lo"}, ""),
        ({"mtu": 9000}, "frames of 9000 bytes do not pass the bridge vmopsnone: its MTU is 1500"),
        ({"mtu": 1400}, ""),
    ],
)
def test_a_node_whose_devices_are_not_fit_for_a_network(
    start: Start, config: fabric.Config, changes: dict[str, Any], said: str
) -> None:
    uplink, mtu = changes.get("uplink"), changes.get("mtu")
    worker = start().worker(bridge="vmopsnone", uplink=uplink or "eth0")
    node: dict[str, Any] = {"subnet": "10.1.0.0/24", "network_node": worker.name, "dhcp": True}
    blue = Network("blue", vlan_id=100, internet=uplink is not None, mtu=mtu, **node)
    networks = {"blue": blue}
    listed = Inventory(Settings(), {worker.name: worker}, {}, "hosts.toml", networks=networks)
    report = examine(Route(worker, config), listed=listed)
    check = named(report, "network blue")
    assert (check.ok, bool(check.cure)) == (not said, bool(said))
    assert said in check.found


def named(report: Health, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


def vm_at(image: str) -> VM:
    return VM.from_dict(VM1.to_dict() | {"qcow_image": image})


def test_an_image_folder_that_is_missing(look: Callable[..., Health], home: Path) -> None:
    check = named(look(vm_at("~/nowhere/vm1.qcow2")), "folder ~/nowhere")
    assert not check.ok
    assert check.found == "there is no such folder"
    assert check.cure == "there: mkdir -p ~/nowhere"


def test_the_folder_of_own_disks_is_made_by_the_first_of_them(
    look: Callable[..., Health], home: Path
) -> None:
    check = named(look(vm_at(f"{FOLDER}/disk-vm1-root.qcow2")), f"folder {FOLDER}")
    assert (check.ok, check.found) == (True, "not there yet; the first image or disk makes it")


def test_an_image_that_is_a_folder(look: Callable[..., Health], home: Path) -> None:
    (home / "vm1.qcow2").mkdir()
    check = named(look(vm_at("~/vm1.qcow2")), "image of vm1")
    assert (check.ok, check.found) == (
        False,
        f"{home}/vm1.qcow2 is neither a file nor a block device",
    )


def test_a_sudo_that_refuses_is_a_finding(look: Callable[..., Health], home: Path) -> None:
    """The login went well, and that is said too."""
    install_sudo(home, "#!/bin/sh\necho 'sudo: a password is required' >&2; exit 1\n")
    report = look(user="ubuntu")
    assert [(check.name, check.ok) for check in report.checks] == [("SSH", True), ("sudo", False)]
    assert named(report, "sudo").found == "sudo asks for a password"
    assert "NOPASSWD" in named(report, "sudo").cure


def test_a_sudo_that_had_a_password(
    look: Callable[..., Health], home: Path, config: fabric.Config
) -> None:
    assert named(look(), "sudo").found == "root without a question"
    install_sudo(home, SUDO.format(password="open sesame"))
    config.sudo.password = "open sesame"
    assert "password that was given" in named(look(user="ubuntu"), "sudo").found


def test_an_image_folder_has_its_free_disk(look: Callable[..., Health], home: Path) -> None:
    check = named(look(vm_at("~/vm1.qcow2")), "folder ~")
    assert check.found.endswith("MiB free"), check


def test_an_image_that_up_brings_is_no_failure_and_one_that_nobody_brings_is(
    start: Start, config: fabric.Config
) -> None:
    base = Base("0" * 64, "qcow2")
    made = replace(VM1, qcow_image="", image="small", worker=None)
    route = Route(start().worker(), config)
    check = named(examine(route, [made], {"small": base}), "image of vm1")
    assert (check.ok, check.found) == (True, "the image small is not there yet: up brings it")
    for worker, ok in ((None, True), (route.worker.name, False)):
        own = replace(VM1, qcow_image="~/nowhere.qcow2", worker=worker)
        check = named(examine(route, [own]), "image of vm1")
        assert check.ok is ok
        assert ("pinned to none" in check.found) is ok


@pytest.mark.parametrize("is_pinned", [True, False])
def test_a_disk_that_is_to_be_made_somewhere_is_not_promised_here(
    start: Start, config: fabric.Config, home: Path, is_pinned: bool
) -> None:
    base = Base("0" * 64, "raw")
    image = home / base.path.removeprefix("~/")
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(b"x" * 512)
    route = Route(start().worker(), config)
    worker = route.worker.name if is_pinned else None
    made = replace(VM1, qcow_image="", image="small", worker=worker)
    check = named(examine(route, [made], {"small": base}), "image of vm1")
    assert check.ok, check
    assert ("to be made of the image small" in check.found) is is_pinned
    assert ("pinned to none" in check.found) is not is_pinned


def report(worker: str, identity: str | None, name: str = "nas") -> Health:
    folder = None if identity is None else (name, identity)
    return Health(worker, "192.0.2.1", folder=folder)


@pytest.mark.parametrize(
    ("others", "wrong"),
    [
        ([report("w2", "7.1")], []),
        ([report("w2", "8.1")], ["w2"]),
        ([report("w2", "8.1", "other")], []),
        ([report("w2", None), report("w3", "8.1"), report("w4", "7.1")], ["w3"]),
    ],
)
def test_folders_of_one_name_are_one_folder(others: list[Health], wrong: list[str]) -> None:
    found = compared([report("w1", "7.1"), *others])
    assert [one.worker for one in found if one.errors] == wrong
    assert all("than that of w1" in str(error) for one in found for error in one.errors)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("yes yes nfs 7.1", ""),
        ("no yes nfs 7.1", "root may not read"),
        ("yes no nfs 7.1", "may not write"),
        ("", "does not answer"),
    ],
)
def test_a_shared_folder_that_cannot_be_used(line: str, said: str) -> None:
    worker = replace(WORKER, shared_images="nas")
    step = Step(store("nas").name, ())
    answer = StepResult(step, 0, f"{line}\n".encode() if line else b"")
    answers = Answers(BlockResult("", "done", (answer,)))
    seen = EMPTY._replace(stores=frozenset({"nas"}))
    (check,) = [one for one in health.checks(worker, (), seen, answers) if "shared" in one.name]
    assert (check.ok, said in check.found) == (not said, True)
