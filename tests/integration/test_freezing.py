"""A snapshot of a frozen guest as the worker's script makes it, with guests and QEMUs that fail.

Whatever happens, a guest that was frozen for it is thawed.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from vmops.core.devices.live import snapshot
from vmops.core.plan.live import snapshots as plans
from vmops.core.script import functions, script
from vmops.core.script.command import Block, BlockResult
from vmops.ops.route import Route
from vmops.ops.vm.live.snapshots import _failed

from ..component.fake_qemu import GREETING, Client, FakeQemu
from ..unit.test_snapshots import drive, says
from ..unit.worlds import VM1, WORKER
from .test_agent_talk import synced

NONCE = "0123456789abcdef" * 2
DONE = {"event": "JOB_STATUS_CHANGE", "data": {"status": "concluded"}}


class World:
    """A guest with so many file systems and its agent, and its QEMU. Each of the requests in
    `wrong` is refused that many times, and a job whose request is there fails."""

    def __init__(self, root: Path, *, file_systems: int = 2, **wrong: int) -> None:
        self.file_systems = file_systems
        self.wrong = {name.replace("_", "-"): times for name, times in wrong.items()}
        self.is_frozen = False
        self.heard: list[str] = []
        self.frozen_when: dict[str, bool] = {}
        self.gone: int | None = None
        folder = root / VM1.name
        folder.mkdir()
        (folder / "process").touch()
        self.servers = (
            FakeQemu(folder / "agent.sock", self.guest),
            FakeQemu(folder / "qmp.sock", self.monitor),
        )

    def fails(self, request: str) -> bool:
        self.heard.append(request)
        self.frozen_when[request] = self.is_frozen
        self.wrong[request] = self.wrong.get(request, 0) - 1
        return self.wrong[request] >= 0

    def guest(self, client: Client) -> None:
        synced(client)
        while True:
            request = client.heard()["execute"].removeprefix("guest-fsfreeze-")
            if self.fails(request):
                answer: Any = {"error": {"class": "GenericError", "desc": "not now"}}
            elif request == "status":
                answer = {"return": "frozen" if self.is_frozen else "thawed"}
            else:
                self.is_frozen = request == "freeze" and self.file_systems > 0
                answer = {"return": self.file_systems}
            client.say(json.dumps(answer).encode() + b"\n")

    def monitor(self, client: Client) -> None:
        client.say(GREETING)
        error: dict[str, str] = {}
        while True:
            request = client.heard()
            command = request["execute"]
            answer: Any = {}
            if command == "query-jobs":
                answer = [{"id": "a-job", "status": "concluded", **error}]
            client.say({"id": request["id"], "return": answer})
            if command in (snapshot.SAVE, snapshot.LOAD, snapshot.DELETE):
                if self.gone is not None:
                    os.close(self.gone)
                    self.gone = None
                error = {"error": "no room"} if self.fails(command) else {}
                client.say(DONE)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of run directories of our own."""
    monkeypatch.setattr(functions, "RUN_ROOT", str(tmp_path))
    return tmp_path


def saving() -> Block:
    block = plans.save(WORKER, VM1, says(drive()), name="one", freeze=True).block
    assert block is not None
    return block._replace(guards=(), lock="", change="")


def run(world: World, block: Block) -> BlockResult:
    text = script.render([block], nonce=NONCE)
    done = subprocess.run(["dash", "-c", text], capture_output=True, timeout=120, check=True)
    (result,) = script.parse([block], nonce=NONCE, stdout=done.stdout, stderr=done.stderr)
    for server in world.servers:
        server.close()
    return result


def error(result: BlockResult) -> str:
    return str(_failed(Route(WORKER), VM1, result) or "")


def test_it_is_frozen_while_it_is_saved_and_not_afterwards(root: Path) -> None:
    world = World(root)
    result = run(world, saving())
    assert (result.outcome, error(result)) == ("done", "")
    assert world.heard == ["status", "freeze", "snapshot-save", "thaw", "status"]
    assert world.frozen_when["snapshot-save"]
    assert not world.is_frozen


@pytest.mark.parametrize(
    ("wrong", "words", "saved"),
    [
        ({"snapshot_save": 1}, "no snapshot was made: no room", True),
        (
            {"freeze": 1},
            "and no snapshot was made: its guest agent refuses",
            False,
        ),
        (
            {"status": 1},
            "and no snapshot was made: its guest agent refuses",
            False,
        ),
        ({"file_systems": 0}, "it has no file system that can be frozen", False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_what_fails_leaves_neither_a_snapshot_nor_a_frozen_guest(
    root: Path, wrong: dict[str, int], words: str, saved: bool
) -> None:
    world = World(root, **wrong)
    result = run(world, saving())
    assert result.outcome == "failed"
    assert words in error(result)
    assert ("snapshot-save" in world.heard) == saved == ("snapshot-delete" in world.heard)
    assert not world.is_frozen


def test_thawing_is_tried_again_and_then_told_and_the_snapshot_is_kept(root: Path) -> None:
    world = World(root, thaw=1)
    result = run(world, saving())
    assert (result.outcome, error(result), world.is_frozen) == ("done", "", False)


def test_one_that_cannot_be_thawed_is_told_with_the_cure(root: Path) -> None:
    world = World(root, thaw=9)
    result = run(world, saving())
    assert world.is_frozen
    assert "snapshot-delete" not in world.heard
    told = error(result)
    assert (
        "saved as snapshot one, but its guest may be frozen still: its guest agent refuses" in told
    )
    assert "fab snapshot.thaw --vm vm1" in told


def test_one_that_cannot_be_thawed_after_a_failure_is_told_too(root: Path) -> None:
    world = World(root, thaw=9, snapshot_save=1)
    told = error(run(world, saving()))
    assert "no snapshot was made: no room" in told
    assert "its guest may be frozen still: fab snapshot.thaw --vm vm1" in told


def test_one_that_somebody_else_has_frozen_is_left_so(root: Path) -> None:
    world = World(root)
    world.is_frozen = True
    told = error(run(world, saving()))
    assert "it is frozen already" in told
    assert "fab snapshot.thaw --vm vm1" in told
    assert world.is_frozen


def test_when_the_operator_vanishes_meanwhile_the_guest_is_thawed(root: Path) -> None:
    """He is gone when QEMU begins to save: the snapshot is deleted, as anything half done is."""
    world = World(root)
    text = script.render([saving()], nonce=NONCE)
    reader, writer = os.pipe()
    world.gone = reader
    with subprocess.Popen(["dash", "-c", text], stdout=writer, stderr=writer) as process:
        os.close(writer)
        process.wait(timeout=120)
    assert world.frozen_when["snapshot-save"]
    assert "snapshot-delete" in world.heard
    assert not world.is_frozen


@pytest.mark.parametrize("frozen", [True, False])
def test_a_revert_thaws_what_was_saved_frozen_and_asks_no_other_guest(
    root: Path, frozen: bool
) -> None:
    has = plans.found(WORKER, VM1, says(drive()))
    tag = snapshot.tag_of("one", has.shape, frozen=frozen)
    block = plans.revert(WORKER, VM1, says(drive("ide0-hd0", "qcow2", tag)), name="one").block
    assert block is not None
    world = World(root)
    world.is_frozen = frozen
    result = run(world, block._replace(guards=(), lock="", change=""))
    assert (result.outcome, error(result)) == ("done", "")
    assert not world.is_frozen
    assert ("thaw" in world.heard) == frozen


def thawing() -> Block:
    block = plans.thaw(WORKER, VM1, says(drive())).block
    assert block is not None
    return block._replace(guards=(), lock="", change="")


def test_a_thaw_by_itself_thaws_and_is_fine_where_nothing_is_frozen(root: Path) -> None:
    world = World(root)
    world.is_frozen = True
    assert error(run(world, thawing())) == ""
    assert not world.is_frozen


def test_a_thaw_that_is_refused_is_told(root: Path) -> None:
    world = World(root, thaw=9)
    world.is_frozen = True
    told = error(run(world, thawing()))
    assert "vm1: its guest may be frozen still: its guest agent refuses" in told


def test_where_nobody_can_be_asked_it_is_not_told_that_nothing_is_frozen(root: Path) -> None:
    world = World(root)
    (root / VM1.name / "agent.sock").unlink()
    told = error(run(world, thawing()))
    assert "vm1: its guest may be frozen still: its QEMU was started without a port" in told
    assert "fab restart --vm vm1" in told


def test_a_revert_whose_guest_stays_frozen_says_so(root: Path) -> None:
    has = plans.found(WORKER, VM1, says(drive()))
    tag = snapshot.tag_of("one", has.shape, frozen=True)
    block = plans.revert(WORKER, VM1, says(drive("ide0-hd0", "qcow2", tag)), name="one").block
    assert block is not None
    world = World(root, thaw=9)
    world.is_frozen = True
    told = error(run(world, block._replace(guards=(), lock="", change="")))
    assert "taken back to snapshot one, but its guest may be frozen still" in told
    assert "fab snapshot.thaw --vm vm1" in told
