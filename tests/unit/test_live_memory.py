"""Decisions about the memory of a VM that runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmops.core.devices.live import balloon
from vmops.core.inventory.model import VM
from vmops.core.plan import restarting, starting
from vmops.core.tools.monitor import Heard, Refused

from .test_live_drives import BALLOON, said, world
from .worlds import VM1, WORKER, commands


@pytest.mark.parametrize(
    ("started_mb", "has_mb", "wanted_mb", "how"),
    [
        (512, 512, 256, "live"),
        (512, 256, 512, "live"),
        (512, 256, 384, "live"),
        (512, 256, 256, None),
        (512, 512, 768, "restart"),
        (512, 256, 768, "restart"),
        (512, 0, 256, "restart"),
    ],
)
def test_memory_is_live_up_to_what_it_was_started_with(
    started_mb: int, has_mb: int, wanted_mb: int, how: str | None
) -> None:
    has = replace(BALLOON, ram_mb=started_mb)
    wanted = replace(BALLOON, ram_mb=wanted_mb)
    made = starting.launch(WORKER, wanted, world(has, said(ram_mb=has_mb)))
    assert [item.how for item in made.drift] == ([how] if how else [])
    assert made.action == {"live": "change", "restart": "restart", None: "nothing"}[how]
    if how == "live":
        (talk,) = commands(made, "change memory")
        assert f'"balloon", "arguments": {{"value": {wanted_mb << 20}}}' in talk
        assert f'"actual": {wanted_mb << 20}}}'.encode().hex() in talk


def test_a_balloon_is_there_from_the_next_start_on() -> None:
    made = starting.launch(WORKER, BALLOON, world(VM1, said()))
    assert (made.action, [str(item) for item in made.drift]) == ("nothing", ["balloon: off -> on"])
    seen = world(BALLOON, said(ram_mb=512))
    assert starting.launch(WORKER, BALLOON, seen).drift == ()
    assert seen.vm("vm1").command_line.has_balloon
    back = restarting.as_it_runs(WORKER, VM1, seen)
    assert back is not None
    assert back.balloon


def test_the_documented_machine_has_no_balloon() -> None:
    assert balloon.words(VM1) == ()
    assert VM.from_dict(VM1.to_dict()) == VM1
    assert VM.from_dict(BALLOON.to_dict()) == BALLOON


@pytest.mark.parametrize(
    ("heard", "why"),
    [
        (Heard("vm1", answers=({},), ended="silent"), "may have no driver"),
        (
            Heard(
                "vm1",
                answers=({},),
                events=({"event": "BALLOON_CHANGE", "data": {"actual": 300 << 20}},),
                ended="silent",
            ),
            "it has come to 300 MiB",
        ),
        (Heard("vm1", answers=(Refused("no"),)), "refuses it: no"),
    ],
)
def test_why_a_guest_has_not_the_memory_that_it_is_to_have(heard: Heard, why: str) -> None:
    assert why in balloon.why_unchanged(heard)
