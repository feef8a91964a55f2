"""One worker's address on this machine: it listens, counts, and has the faults of a bad network."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, get_args

from vmops.lab.connection import Connection, Side

FaultKind = Literal["drop", "freeze", "reset", "strand"]
"""`drop`: connections end and new ones are refused. `freeze`: nothing passes and nothing ends,
new connections are accepted and dead; after a heal all that was held goes on its way. `reset`:
connections, new ones too, end with a RST, which may overtake bytes that were passed before it.
`strand`: the connections of that moment freeze, new ones pass, as when a laptop falls asleep and
its owner goes on at another."""

FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)


@dataclass(slots=True)
class Traffic:
    """What passed, since the relay began. A turn is an answer of the worker after a request."""

    connections: int = 0
    bytes_to_worker: int = 0
    bytes_to_operator: int = 0
    turns: int = 0


class Relay:
    """One worker's listener. `dial` gives a connected socket to the worker's sshd."""

    def __init__(self, address: str, port: int, dial: Callable[[], Awaitable[socket.socket]]):
        self.address = address
        self.port = port
        self.dial = dial
        self.traffic = Traffic()
        self.fault: FaultKind | None = None
        self.delay_s = 0.0  # of one direction
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.open: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._planned: FaultKind | None = None
        self._budget = 0
        self._toward: Side = "operator"

    @property
    def planned(self) -> str:
        """The fault that waits for its bytes, as text; empty when none does."""
        if not self._planned:
            return ""
        way = " to the worker" if self._toward == "worker" else ""
        return f"{self._planned} after {self._budget} bytes{way}"

    async def listen(self) -> None:
        """Accept connections. Raises OSError when the address is taken."""
        if self._server is None:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self).operator, self.address, self.port, backlog=512
            )

    def plan_fault(self, kind: FaultKind, after_bytes: int, *, toward: Side = "operator") -> None:
        """Let that many more bytes reach that side, over all connections, then break."""
        self._planned, self._budget, self._toward = kind, after_bytes, toward
        if after_bytes == 0:
            self._break()

    async def heal(self) -> None:
        """End the fault, or the plan of one. Raises OSError when the address was taken since."""
        self.fault = self._planned = None
        await self.listen()
        self.thawed.set()
        for connection in tuple(self.open):
            connection.stranded = False
            connection.pump()

    @property
    def refuses(self) -> bool:
        """True while new connections end with a RST."""
        return self.fault == "reset"

    def begun(self, connection: Connection) -> None:
        """Count a connection that was accepted, and keep it for the fault to come."""
        self.open.add(connection)
        self.traffic.connections += 1

    def ended(self, connection: Connection) -> None:
        """Forget a connection whose ends are both gone."""
        self.open.discard(connection)

    def turned(self) -> None:
        """Count an answer of the worker."""
        self.traffic.turns += 1

    def allowed(self, wanted: int, side: Side) -> int:
        """How many of these bytes may still reach that side."""
        return min(wanted, self._budget) if self._planned and side == self._toward else wanted

    def delivered(self, count: int, side: Side) -> None:
        """Count bytes that reached that side; the planned fault comes with the last of them."""
        if side == "worker":
            self.traffic.bytes_to_worker += count
        else:
            self.traffic.bytes_to_operator += count
        if self._planned and side == self._toward:
            self._budget -= count
            if self._budget == 0:
                self._break()

    def _break(self) -> None:
        self.fault, self._planned = self._planned, None
        if self.fault == "freeze":
            self.thawed.clear()
        if self.fault == "drop" and self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self.open):
            if self.fault in ("freeze", "strand"):
                connection.stranded = self.fault == "strand"
                connection.pump()
            else:
                connection.cut(reset=self.fault == "reset")
