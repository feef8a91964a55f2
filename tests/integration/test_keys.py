"""The keys that vmops knows, against the QEMU of this machine and the firmware's keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.guests import BANNER, boot_sector_image, cache_directory, require_tools
from tests.guests.machine import Machine
from vmops.core.devices.keyboard import CODES, bursts, typed
from vmops.core.devices.screen import dump

ANSWER_S = 10
PRINTABLE = "".join(map(chr, range(ord(" "), ord("~") + 1)))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    require_tools("qemu-system-x86_64", "qemu-img", "as", "ld")
    return Machine(tmp_path / "guest", boot_sector_image(cache_directory()), memory_mb=32)


def test_qemu_knows_every_code(machine: Machine) -> None:
    with machine:
        machine.wait_for(BANNER, timeout=ANSWER_S)
        schema: Any = machine.ask("query-qmp-schema")
    enums = [set(entry["values"]) for entry in schema if entry["meta-type"] == "enum"]
    (known,) = [values for values in enums if "ctrl_r" in values]
    assert known >= CODES


def test_a_guest_reads_what_was_typed(machine: Machine) -> None:
    with machine:
        machine.wait_for(BANNER, timeout=ANSWER_S)
        for char in PRINTABLE:
            ((request,),) = [burst.requests for burst in bursts(typed(char), hold_ms=1)]
            machine.ask(request.command, **(request.arguments or {}))
            machine.wait_for(f"VMOPS-KEY {char}", timeout=ANSWER_S)


def test_qemu_takes_the_picture_in_the_format_that_it_knows(
    machine: Machine, tmp_path: Path
) -> None:
    path = tmp_path / "screen"
    with machine:
        machine.wait_for(BANNER, timeout=ANSWER_S)
        for png in (False, True):
            request = dump(str(path), png=png)
            machine.ask(request.command, **(request.arguments or {}))
            assert path.read_bytes().startswith(b"\x89PNG" if png else b"P6\n720 400\n255\n")
