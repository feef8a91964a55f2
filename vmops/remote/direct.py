"""The direct way of a live migration: from one worker's QEMU to another's, over one SSH connection
between the two.

It is there for this move alone, as are the keys of both its sides. What is said between the QEMUs
does not come here; that somebody is here does go to both, and ends the way when it ends.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Self

from vmops.core.devices.live.mirror import SILENCE_S
from vmops.core.images.names import FOLDER
from vmops.core.inventory.complaints import printable
from vmops.core.names import RunDirectory
from vmops.core.script.functions import program
from vmops.errors import CommandTimeout, VmopsError
from vmops.remote.image.program import PATIENCE_S, Program
from vmops.remote.once import LONGEST_WHY, CannotBe, End, Keys, Place, new_keys, place_of
from vmops.remote.ssh.bridge import FAILURES
from vmops.remote.ssh.connection import connection
from vmops.remote.way import BEAT_S

SOURCE = ("once.pl", "ssh.pl", "lead.pl")
DESTINATION = ("once.pl", "sshd.pl", "let_in.pl")

_ANSWERS_S = 20.0
_COMES_S = 25.0
"""How long an ssh may take to log in. The source waits a minute for somebody to come."""

_log = logging.getLogger("vmops")


class DirectWay:
    """Has `source` carry what the VM's QEMU says there to the one that waits at `destination`,
    while it is open. A context manager.

    Opening it raises CannotBe where these two cannot do it; then nothing of it is left. A way that
    is lost is logged, and QEMU says that it has failed. Nothing listens any more when the one
    connection between the workers is there, and that ends when this does, or this process.
    """

    def __init__(self, source: End, destination: End, vm: str) -> None:
        self._is_over = threading.Event()
        self._source = source.worker.name
        self._programs: list[Program] = []
        try:
            at_destination = self._program(destination, DESTINATION)
            at_source = self._program(source, SOURCE)
            keys, run = new_keys(), RunDirectory(vm).path
            place = self._listening(at_destination, keys, run)
            at_source.start([FOLDER, run, *place])
            self._reached(at_source, at_destination, keys)
        except VmopsError as error:
            self.close()
            raise CannotBe(error.what) from error
        except BaseException:
            self.close()
            raise
        for task, one in (
            (self._beat, at_source),
            (self._beat, at_destination),
            (self._watch, at_source),
        ):
            threading.Thread(target=task, args=(one,), daemon=True).start()

    def close(self) -> None:
        """End the way; the sockets at the source go with that."""
        self._is_over.set()
        for one in self._programs:
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _program(self, end: End, texts: tuple[str, ...]) -> Program:
        transport = connection(end.worker, config=end.config).live_transport
        self._programs.append(Program(transport, end.worker.name, texts))
        return self._programs[-1]

    def _listening(self, there: Program, keys: Keys, run: str) -> Place:
        there.start([FOLDER, run, str(SILENCE_S)])
        for line in (program("reach.pl").encode().hex(), keys.host, keys.allowed):
            there.ask(line)
        words = there.hear(_ANSWERS_S)
        if place := place_of(words):
            return place
        raise CannotBe(_why(words))

    def _reached(self, here: Program, there: Program, keys: Keys) -> None:
        here.ask(keys.login)
        here.ask(keys.known)
        for one in (here, there):
            words = one.hear(_COMES_S)
            if words != ["here"]:
                raise CannotBe(_why(words))

    def _beat(self, one: Program) -> None:
        with suppress(VmopsError, *FAILURES):
            while not self._is_over.wait(BEAT_S):
                one.ask("")

    def _watch(self, here: Program) -> None:
        while not self._is_over.is_set():
            try:
                words = here.hear(PATIENCE_S)
            except CommandTimeout:
                continue
            except (VmopsError, *FAILURES):
                return
            if not self._is_over.is_set():
                _log.error("%s: the way to the other worker is lost: %s", self._source, _why(words))
            return


def _why(words: list[str]) -> str:
    said = printable(" ".join(words[1:]))[:LONGEST_WHY]
    return f"there is no {said}" if words[0] == "lacks" else said
