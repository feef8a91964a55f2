"""The frames of one interface, from its TAP to us, until somebody has enough."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from typing import NamedTuple

from vmops.core.inventory.model import VM, Nic
from vmops.core.tools.proof import attend
from vmops.core.tools.proof.pcap import Counter
from vmops.errors import CommandFailed, ConnectionLost, Evidence, VmopsError, WorkFailed
from vmops.ops.proof.caller import Call, call
from vmops.ops.route import Route

_CHUNK = 1 << 16
_LOOK_AROUND_S = 0.5


class Wanted(NamedTuple):
    """What is to be captured: the interface, how many frames (0: no end), and a filter."""

    vm: VM
    nic: Nic
    frames: int = 0
    expression: str = ""


class Capture:
    """A capture that is under way; a context manager, whose end ends it there too."""

    def __init__(self, route: Route, wanted: Wanted, begun: Call) -> None:
        self._route = route
        self._wanted = wanted
        self._call = begun
        self._socket = begun.socket
        self._counter = Counter()

    @property
    def frames(self) -> int:
        """How many have come."""
        return self._counter.frames

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def pieces(self, has_left: Callable[[], bool]) -> Iterator[bytes]:
        """What comes, as pcap, until all is there or the reader `has_left`.

        Raises ConnectionLost, and WorkFailed where it ended there before that.
        """
        while not has_left():
            if not select.select([self._socket], [], [], _LOOK_AROUND_S)[0]:
                continue
            data = self._socket.recv(_CHUNK)
            if not data:
                self._check_end()
                return
            self._counter.feed(data)
            yield data

    def _check_end(self) -> None:
        wanted, worker = self._wanted, self._route.worker.name
        if wanted.frames and self.frames >= wanted.frames:
            return
        if self._call.was_cut:
            raise ConnectionLost(
                "the connection was lost while frames were captured", worker=worker
            )
        raise WorkFailed(
            f"the capture ended there: TAP {wanted.nic.tap} is gone, or somebody ended it",
            worker=worker,
            vm=wanted.vm.name,
            interface=wanted.nic.name,
            cure=f"fab status --vm {wanted.vm.name}",
        )


def capture(route: Route, wanted: Wanted) -> Capture:
    """Begin to capture at the TAP of an interface.

    Raises what `call` does, and WorkFailed for a TAP that is not there, a filter that is none, or
    one where tcpdump is not installed.
    """

    def refused(why: str) -> VmopsError:
        where = {
            "worker": route.worker.name,
            "vm": wanted.vm.name,
        }
        if why == attend.NO_TCPDUMP:
            return WorkFailed(
                "a filter needs tcpdump there", cure="there: sudo apt install tcpdump", **where
            )
        if why.startswith("there is no TAP"):
            name = wanted.vm.name
            cure = f"fab plug --vm {name}  # or, if it runs: fab restart --vm {name}"
            return WorkFailed(why, cure=cure, **where)
        evidence = Evidence(("tcpdump", wanted.expression), None, why)
        return CommandFailed(why.removeprefix("tcpdump: "), evidence=evidence, **where)

    begun = call(
        route,
        wanted.vm.name,
        lambda path: attend.capture(
            path, wanted.nic.tap, count=wanted.frames, expression=wanted.expression
        ),
        refused,
    )
    return Capture(route, wanted, begun)
