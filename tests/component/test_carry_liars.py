"""A file between two workers of which one lies: one error, in bounded time and traffic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fabric
import pytest

from vmops.errors import UnexpectedOutput, WorkFailed
from vmops.remote.image.carry import Where, carry

from .fake_worker import FakeWorker

Start = Callable[..., FakeWorker]

NINES = "$(head -c 5000 /dev/zero | tr '\\0' 9)"
ENDLESS = "echo file 10 10; read -r line; exec cat /dev/zero"
SWALLOWS = "echo at 0 plain; exec cat >/dev/null"
FILE = Where("~/disk", "a" * 64, "~/there", "arrived")


@pytest.fixture
def lying(start: Start, home: Path, config: fabric.Config) -> Callable[[str, str], int]:
    """Both are one machine, whose perl plays one part or the other."""

    def one(sends: str, takes: str) -> int:
        (home / "bin").mkdir()
        # Who takes gets six arguments behind the program, who sends one.
        parts = f'if [ "$#" -gt 3 ]; then {takes}; else {sends}; fi'
        (home / "bin/perl").write_text(f"#!/bin/sh\n{parts}\n")
        (home / "bin/perl").chmod(0o755)
        fake = start()
        return carry(fake.worker("w1"), fake.worker("w2"), FILE, config=config)

    return one


@pytest.mark.parametrize(
    ("sends", "takes", "error", "said"),
    [
        (f"echo file {NINES} 1", SWALLOWS, WorkFailed, r"^w1: .*~/disk cannot be read: 9999"),
        ("echo file 10 -1", SWALLOWS, WorkFailed, r"^w1: ~/disk cannot be read: 10 -1"),
        (ENDLESS, f"echo at {NINES} plain", UnexpectedOutput, r"^w2: .*answers 'at 9999"),
        (ENDLESS, f"echo full {NINES} 1", UnexpectedOutput, r"^w2: .*answers 'full 9999"),
        (ENDLESS, SWALLOWS, UnexpectedOutput, r"^w1: it sends more than the file holds"),
    ],
    ids=["size", "negative", "offset", "room", "no end"],
)
def test_a_worker_that_lies_costs_one_error(
    lying: Callable[[str, str], int],
    sends: str,
    takes: str,
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=said):
        lying(sends, takes)
