"""One accepted connection of a relay and its counterpart in the worker.

A `Connection` has two `End`s, the operator's and the worker's, and two `Way`s: each carries the
bytes of one direction, in order, late by the relay's delay, and not at all while the relay is
frozen or the connection is stranded.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

Side = Literal["operator", "worker"]
"""Where bytes go: those that reach this side are counted down to a planned fault."""

SIDES: tuple[Side, ...] = get_args(Side)

MAX_HELD = 16 * 2**20
"""Bytes that one direction may hold back before its sender is made to wait."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """Something other than bytes that travels with them."""

    name: str


EOF = _Mark("end of file")
RESET = _Mark("reset")


class Listener(Protocol):
    """What a connection asks of the relay that accepted it, and tells it."""

    delay_s: float
    thawed: asyncio.Event
    dial: Callable[[], Awaitable[socket.socket]]

    @property
    def refuses(self) -> bool:
        """True while new connections end with a RST."""

    def begun(self, connection: Connection) -> None:
        """This connection was accepted."""

    def ended(self, connection: Connection) -> None:
        """Both ends of it are gone."""

    def turned(self) -> None:
        """The worker answers a request."""

    def allowed(self, wanted: int, side: Side) -> int:
        """How many of these bytes may still reach that side."""

    def delivered(self, count: int, side: Side) -> None:
        """So many bytes reached that side."""


class Connection:
    """One accepted connection, from the operator's side to the worker's."""

    def __init__(self, relay: Listener) -> None:
        self.relay = relay
        self.operator = End(self)
        self.worker = End(self)
        self.to_worker = Way(self, self.operator, self.worker)
        self.to_operator = Way(self, self.worker, self.operator)
        self.asked = False
        self.stranded = False
        self._dialling: asyncio.Task[None] | None = None

    def accepted(self) -> None:
        """Begin: reach for the worker, unless the relay is out of order."""
        self.relay.begun(self)
        if self.relay.refuses:
            self.cut(reset=True)
            return
        # TCP's own handshake costs a round trip, and its last part travels to the worker.
        now = asyncio.get_running_loop().time()
        self.to_worker.not_before = now + 3 * self.relay.delay_s
        self.to_operator.not_before = now + 4 * self.relay.delay_s
        self.operator.pause(True)
        self._dialling = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        await self.relay.thawed.wait()
        try:
            reached = await self.relay.dial()
            await asyncio.get_running_loop().create_connection(lambda: self.worker, sock=reached)
        except OSError:
            self.cut(reset=True)
            return
        if self.operator.alive:
            self.pump()
        else:
            self.cut(reset=True)

    def pump(self) -> None:
        """Look again at what may pass, in both directions."""
        self.to_worker.pump()
        self.to_operator.pump()

    def lost(self, end: End, error: Exception | None) -> None:
        """One end is gone. The other hears of it behind all that is on its way."""
        if not (self.operator.alive or self.worker.alive):
            self.relay.ended(self)
        elif error is not None:
            (self.to_worker if end is self.operator else self.to_operator).put(RESET)

    def cut(self, *, reset: bool) -> None:
        """End both sides now."""
        self.operator.end(reset=reset)
        self.worker.end(reset=reset)
        if not self.worker.alive and not self.operator.alive:
            self.relay.ended(self)


class End(asyncio.Protocol):
    """One TCP connection: the operator's or the worker's."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.transport: asyncio.Transport | None = None
        self.full = False
        self._finished = False

    @property
    def alive(self) -> bool:
        """True while it can be written to."""
        return self.transport is not None and not self.transport.is_closing()

    @property
    def outgoing(self) -> Way:
        """The way that carries what is received here."""
        pair = self.connection
        return pair.to_worker if self is pair.operator else pair.to_operator

    @property
    def incoming(self) -> Way:
        """The way that ends here."""
        pair = self.connection
        return pair.to_operator if self is pair.operator else pair.to_worker

    def pause(self, wanted: bool) -> None:
        """Stop reading, or go on."""
        if self.transport is None or not self.alive or self._finished:
            return
        if wanted:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def end(self, *, reset: bool) -> None:
        """Close, after what was written; or with a RST at once. What is closing is left alone."""
        if self.transport is None or not self.alive:
            return
        if reset:
            end_socket = self.transport.get_extra_info("socket")
            end_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self is self.connection.operator:
            self.connection.accepted()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self is not self.connection.operator:
            self._acknowledge_at_once()
        self.outgoing.put(data)

    def _acknowledge_at_once(self) -> None:
        """An acknowledgement that this kernel holds back would stall sshd for 40 ms, and hide
        whether the operator's kernel does so too."""
        assert self.transport is not None
        end_socket = self.transport.get_extra_info("socket")
        with suppress(OSError):
            end_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def eof_received(self) -> bool:
        """Called by asyncio. True keeps the other direction open."""
        self._finished = True
        self.outgoing.put(EOF)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self.connection.lost(self, exc)

    def pause_writing(self) -> None:
        """Called by asyncio: our buffer is full."""
        self.full = True
        self.incoming.regulate()

    def resume_writing(self) -> None:
        """Called by asyncio: our buffer has room."""
        self.full = False
        self.incoming.regulate()


class Way:
    """One direction of a connection: what is on its way, in order, each with its due time."""

    def __init__(self, connection: Connection, source: End, sink: End) -> None:
        self.connection = connection
        self.source = source
        self.sink = sink
        self.not_before = 0.0
        self.ended = False
        self._queue: deque[tuple[float, bytes | _Mark]] = deque()
        self._held = 0
        self._timer: asyncio.TimerHandle | None = None

    def put(self, item: bytes | _Mark) -> None:
        """Take something from the source."""
        now = asyncio.get_running_loop().time()
        self.not_before = max(now + self.connection.relay.delay_s, self.not_before)
        self._queue.append((self.not_before, item))
        self._held += len(item) if isinstance(item, bytes) else 0
        self.pump()

    def pump(self) -> None:
        """Deliver what is due, unless the relay is frozen or the sink is not there yet."""
        loop = asyncio.get_running_loop()
        while self._queue and self.sink.transport is not None and self._thawed:
            due, item = self._queue[0]
            if due > loop.time():
                if self._timer is None:
                    self._timer = loop.call_at(due, self._timed)
                break
            self._queue.popleft()
            if isinstance(item, bytes):
                self._held -= len(item)
                self._deliver(item, due)
            elif item is RESET:
                self.sink.end(reset=True)
            else:
                self._finish()
        self.regulate()

    def regulate(self) -> None:
        """Let the source send only what can be passed on."""
        stuck = self.sink.transport is None or self.sink.full or self._held > MAX_HELD
        self.source.pause(stuck or not self._thawed)

    @property
    def _thawed(self) -> bool:
        return self.connection.relay.thawed.is_set() and not self.connection.stranded

    def _timed(self) -> None:
        self._timer = None
        self.pump()

    def _deliver(self, data: bytes, due: float) -> None:
        relay = self.connection.relay
        if not self.sink.alive or self.sink.transport is None:
            return
        inward = self is self.connection.to_worker
        if not inward and self.connection.asked:
            relay.turned()
        self.connection.asked = inward
        side: Side = "worker" if inward else "operator"
        passing = relay.allowed(len(data), side)
        self.sink.transport.write(data[:passing])
        if passing < len(data):
            self._held += len(data) - passing
            self._queue.appendleft((due, data[passing:]))
        relay.delivered(passing, side)

    def _finish(self) -> None:
        self.ended = True
        if self.connection.to_worker.ended and self.connection.to_operator.ended:
            self.connection.cut(reset=False)
        elif self.sink.alive and self.sink.transport is not None:
            self.sink.transport.write_eof()
