"""An image from one worker to another, by an ssh and an sshd that are there for it alone.

The keys of both sides are made here for one transfer and go to the workers over their own
connections. What has to listen there ends with the channel of its program.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import NamedTuple

from vmops.core.images import stream
from vmops.core.images.names import FOLDER, Base
from vmops.core.images.progress import Progress
from vmops.core.inventory.complaints import printable
from vmops.errors import UnexpectedOutput, VmopsError, WorkFailed
from vmops.remote.image.image_file import ImageFile
from vmops.remote.image.program import CHECKS_AT_BYTES_S, PATIENCE_S, Program, is_count
from vmops.remote.image.transfer import Pushed, Report
from vmops.remote.once import LONGEST_WHY, CannotBe, End, Keys, Place, new_keys, place_of
from vmops.remote.ssh.bridge import FAILURES
from vmops.remote.ssh.connection import connection

TAKER = ("number.pl", "arrival.pl", "once.pl", "sshd.pl", "beside.pl", "receive.pl")
GIVER = ("once.pl", "ssh.pl", "give.pl")

_WAITS_S = 150.0
_ANSWERS_S = 20.0


class Handed(NamedTuple):
    """What came of it. `why` is empty, or says why these two cannot do it; `is_another` is that
    what the giver has is not the promised image."""

    pushed: Pushed = Pushed()
    why: str = ""
    is_another: bool = False


def hand_on(
    giver: End, taker: End, image: ImageFile, *, base: Base, on_progress: Report | None = None
) -> Handed:
    """Have `giver` send `base`, which it has, to `taker`, unless it is there already.

    `image` is the same one here: it is not read, but for its size. What is cut stays there as
    NAME.part, and the next one goes on behind it, whoever sends it. Nothing listens any more when
    this returns, or when this process has ended. Raises what `push` raises for the taker's part.
    """
    for_taker = connection(taker.worker, config=taker.config).live_transport
    try:
        for_giver = connection(giver.worker, config=giver.config).live_transport
    except VmopsError as error:
        return Handed(why=error.what)
    for last_try in (False, True):
        handing = _Handing(
            Program(for_giver, giver.worker.name, GIVER),
            Program(for_taker, taker.worker.name, TAKER),
            on_progress,
        )
        try:
            handed = handing.run(image, base)
        except CannotBe as error:
            return Handed(why=str(error))
        finally:
            handing.close()
        if not (handed.is_another and handed.pushed.resumed_at) or last_try:
            return handed  # else what lay there from before may have been bad
    raise AssertionError("the last try ends it")


class _Handing:
    def __init__(self, giver: Program, taker: Program, on_progress: Report | None) -> None:
        self._giver = giver
        self._taker = taker
        self._on_progress = on_progress

    def close(self) -> None:
        """End both programs; what has come is kept."""
        self._giver.close()
        self._taker.close()

    def run(self, image: ImageFile, base: Base) -> Handed:
        """See `hand_on`. Raises CannotBe."""
        total = stream.data_bytes(image.extents)
        self._taker.start([FOLDER, base.name, base.digest, str(image.size), str(total), "0"])
        match self._taker.hear(_WAITS_S):
            case ["there"]:
                return Handed(Pushed(was_there=True))
            case ["at", offset, "plain"] if is_count(offset):
                start = int(offset)
            case words:
                raise self._taker.refusal(words)
        keys = new_keys()
        place = self._listening(keys)
        sent = self._given(base, place, keys, _Course(image, start))
        answer = self._taker.hear(PATIENCE_S)
        if answer == ["checks"]:
            answer = self._taker.hear(PATIENCE_S + image.size / CHECKS_AT_BYTES_S)
        match answer:
            case ["done"]:
                return Handed(Pushed(sent, start))
            case ["differs", found]:
                why = f"it is another image there: its sha256 is {printable(found)[:64]}"
                return Handed(Pushed(sent, start), why, is_another=True)
            case words:
                raise self._taker.refusal(words)

    def _listening(self, keys: Keys) -> Place:
        self._taker.ask(keys.host)
        self._taker.ask(keys.allowed)
        words = self._taker.hear(_ANSWERS_S)
        if place := place_of(words):
            return place
        if words[0] == "lacks":
            raise CannotBe(f"there is no {printable(' '.join(words[1:]))} to take it with")
        raise self._taker.refusal(words)

    def _given(self, base: Base, place: Place, keys: Keys, course: _Course) -> int:
        """The bytes that went from one to the other."""
        words = self._heard_of_giver(base, place, keys, course)
        match words:
            case ["given", sent] if is_count(sent):
                return int(sent)
            case ["lacks", *what]:
                why = f"there is no {printable(' '.join(what))} to send it with"
            case ["failed", *said]:
                why = printable(" ".join(said))[:LONGEST_WHY]
            case _:
                why = f"its answer is {printable(' '.join(words))[:LONGEST_WHY]!r}"
        raise self._own_fault_of_taker() or CannotBe(why)

    def _heard_of_giver(self, base: Base, place: Place, keys: Keys, course: _Course) -> list[str]:
        """Its last line; what fails on the way to it counts as that. It may tell of what it sends
        for as long as it is taken, and not for good."""
        ends_s = float("inf")
        try:
            self._giver.start([FOLDER, base.name, *place, str(course.start)])
            self._giver.ask(keys.login)
            self._giver.ask(keys.known)
            while True:
                words = self._giver.hear(PATIENCE_S + _ANSWERS_S)
                if ends_s == float("inf") and self._taker.has_more:
                    ends_s = time.monotonic() + PATIENCE_S
                if words[0] == "sent" and time.monotonic() > ends_s:
                    return ["failed", "it tells of what it sends, which nobody takes any more"]
                match words:
                    case ["sent", at, sent] if is_count(at) and is_count(sent):
                        if self._on_progress is not None:
                            self._on_progress(course.progress(int(at), int(sent)))
                    case _:
                        return words
        except VmopsError as error:
            return ["failed", error.what]

    def _own_fault_of_taker(self) -> VmopsError | None:
        """What it says itself: that its disk is full, say. It is told that no more comes."""
        with suppress(*FAILURES):
            self._taker.no_more()
        try:
            words = self._taker.hear(_ANSWERS_S)
        except UnexpectedOutput as error:
            return error
        except WorkFailed:
            return None
        return self._taker.refusal(words) if words[0] in ("failed", "full") else None


class _Course:
    """How far it is, by the place in the image."""

    def __init__(self, image: ImageFile, start: int) -> None:
        self.start = start
        self._extents = image.extents
        self._total = stream.data_bytes(image.extents)
        self._began = time.monotonic()

    def progress(self, at: int, sent: int) -> Progress:
        done, resumed = self._behind(at), self._behind(self.start)
        seconds = time.monotonic() - self._began
        return Progress("sending", done, self._total, resumed, sent, seconds)

    def _behind(self, at: int) -> int:
        return sum(max(0, min(at, start + length) - start) for start, length in self._extents)
