"""One worker's address on this machine: it listens, counts, and has the faults of a bad network."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, get_args

from vmops.lab.connection import Connection

FaultKind = Literal["drop", "freeze", "reset"]
"""`drop`: connections end and new ones are refused. `freeze`: nothing passes and nothing ends,
new connections are accepted and dead; after a heal all that was held goes on its way. `reset`:
connections, new ones too, end with a RST, which may overtake bytes that were passed before it."""

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
        self.open: set[Connection] = set()
        self.thawed = asyncio.Event()
        self.thawed.set()
        self._server: asyncio.Server | None = None
        self._planned: FaultKind | None = None
        self._budget = 0

    @property
    def planned(self) -> str:
        """The fault that waits for its bytes, as text; empty when none does."""
        return f"{self._planned} after {self._budget} bytes" if self._planned else ""

    async def listen(self) -> None:
        """Accept connections. Raises OSError when the address is taken."""
        if self._server is None:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self).operator, self.address, self.port, backlog=512
            )

    def plan_fault(self, kind: FaultKind, after_bytes: int) -> None:
        """Let that many more bytes reach the operator, over all connections, then break."""
        self._planned, self._budget = kind, after_bytes
        if after_bytes == 0:
            self._break()

    async def heal(self) -> None:
        """End the fault, or the plan of one. Raises OSError when the address was taken since."""
        self.fault = self._planned = None
        await self.listen()
        self.thawed.set()
        for connection in tuple(self.open):
            connection.pump()

    def allowed(self, wanted: int) -> int:
        """How many of these bytes may still reach the operator."""
        return min(wanted, self._budget) if self._planned else wanted

    def delivered(self, count: int) -> None:
        """Count bytes that reached the operator; the planned fault comes with the last of them."""
        self.traffic.bytes_to_operator += count
        if self._planned:
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
            if self.fault == "freeze":
                connection.pump()
            else:
                connection.cut(reset=self.fault == "reset")
