"""What a QEMU is told before its migration is used: what another use has left set in it counts for
nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from vmops.core.devices.live import memory, mirror
from vmops.core.devices.live.mirror import Mirrored, Tuning
from vmops.core.script.command import Step
from vmops.core.tools.process import Process

DISK = Mirrored("root", "ide0-hd0", "disk0")
QEMU = Process(1, 1, "S", 0, 0, ("qemu-system-x86_64",))
USES: Mapping[str, tuple[Sequence[Step], set[str]]] = {
    "saved": ((memory.saving("vm1", QEMU, uid=1900000001),), set()),
    "loaded": (memory.loading("vm1"), set()),
    "sent": (
        (mirror.handing_over("vm1", [DISK], Tuning()),),
        {"return-path", "pause-before-switchover", "auto-converge"},
    ),
    "sent without disks": (
        (mirror.handing_over("vm1", [], Tuning(50, 8)),),
        {"return-path", "pause-before-switchover", "auto-converge"},
    ),
    "received": ((mirror.waiting("vm1", [DISK]),), {"return-path"}),
}


def said(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The requests, in their order."""
    text = b"".join(entry.stdin or b"" for step in steps for entry in step.commands).decode()
    lines = (line.partition(" ") for line in text.splitlines())
    return [json.loads(rest) for word, _, rest in lines if word == "say"]


def capabilities(requests: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """What is set before the migration is begun."""
    states: dict[str, bool] = {}
    for request in requests:
        if request["execute"] in ("migrate", "migrate-incoming"):
            return states
        if request["execute"] == "migrate-set-capabilities":
            for one in request["arguments"]["capabilities"]:
                states[one["capability"]] = one["state"]
    raise AssertionError("no migration is begun")


@pytest.mark.parametrize("use", USES)
def test_each_use_of_migration_says_all_that_it_needs(use: str) -> None:
    every = {name for steps, _ in USES.values() for name in capabilities(said(steps))}
    steps, wanted = USES[use]
    states = capabilities(said(steps))
    assert set(states) == every, "what another use sets this one sets too"
    assert {name for name, is_on in states.items() if is_on} == {"events", *wanted}


@pytest.mark.parametrize(
    ("use", "limits"),
    [
        ("saved", {"downtime-limit": 300, "max-bandwidth": 1 << 40}),
        ("sent", {"downtime-limit": 300, "max-bandwidth": 1 << 40}),
        ("sent without disks", {"downtime-limit": 50, "max-bandwidth": 1_000_000}),
    ],
)
def test_what_sends_says_how_fast(use: str, limits: dict[str, int]) -> None:
    (found,) = (
        request["arguments"]
        for request in said(USES[use][0])
        if request["execute"] == "migrate-set-parameters"
    )
    assert found == limits


def test_the_sockets_of_disks_may_be_closed_already() -> None:
    """Whoever goes on with a move that was cut there asks a second time."""
    (talk,) = mirror.taking("vm1").commands
    assert talk.argv[0] == "take_back"
    (plain,) = mirror.taking("vm1", mirrored=False).commands
    assert plain.argv[0] != "take_back"
