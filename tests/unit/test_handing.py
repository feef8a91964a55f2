"""A worker that gives an image to another, as the operator hears both."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from vmops.core.images.names import Base
from vmops.remote.image import beside
from vmops.remote.image.image_file import ImageFile
from vmops.remote.image.program import Program
from vmops.remote.once import Keys, Place


class Lies:
    """Says for ever that it sends."""

    told = 0

    def start(self, arguments: list[str]) -> None:
        pass

    def ask(self, line: str) -> None:
        pass

    def hear(self, limit_s: float) -> list[str]:
        self.told += 1
        assert self.told < 10_000, "it is listened to for good"
        return ["sent", str(self.told), "1"]


class Takes:
    """Has ended when the giver has told so much."""

    def __init__(self, giver: Lies, after: int) -> None:
        self._giver = giver
        self._after = after

    @property
    def has_more(self) -> bool:
        return self._giver.told >= self._after


@pytest.mark.parametrize("after", [1, 500])
def test_a_giver_is_listened_to_while_somebody_takes_what_it_sends(
    monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(beside, "PATIENCE_S", -1.0)
    giver = Lies()
    taker = cast(Program, Takes(giver, after))
    handing = beside._Handing(cast(Program, giver), taker, None)
    words = handing._heard_of_giver(
        Base("0" * 64, "raw"),
        Place("127.0.0.1", "1", "ubuntu"),
        Keys("", "", "", ""),
        beside._Course(cast(ImageFile, SimpleNamespace(extents=())), 0),
    )
    assert words[0] == "failed"
    assert giver.told == after
