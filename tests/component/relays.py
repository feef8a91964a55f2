"""A relay of the lab's to a server of ours, and what is asked through it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from vmops.lab.relay import Relay

LIMIT_S = 5.0


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.CancelledError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def relayed(server: Handler = echo) -> AsyncIterator[Relay]:
    """A relay to a server of ours, each on a free port of the loopback."""
    behind = await asyncio.start_server(server, "127.0.0.1", 0)
    target = behind.sockets[0].getsockname()

    async def dial() -> socket.socket:
        made = socket.socket()
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, target)
        return made

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    relay = Relay("127.0.0.1", port, dial)
    await relay.listen()
    try:
        yield relay
    finally:
        await relay.heal()
        relay.plan_fault("drop", 0)
        behind.close()


async def connect(relay: Relay) -> Streams:
    return await asyncio.open_connection(relay.address, relay.port)


async def ask(streams: Streams, data: bytes = b"ping") -> bytes:
    reader, writer = streams
    writer.write(data)
    return await asyncio.wait_for(reader.readexactly(len(data)), LIMIT_S)


async def is_silent(reader: asyncio.StreamReader, seconds: float = 0.2) -> bool:
    """True when nothing comes, and no end either."""
    try:
        await asyncio.wait_for(reader.read(1), seconds)
    except TimeoutError:
        return True
    return False


def run(body: Awaitable[None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(body, 20)

    asyncio.run(limited())
