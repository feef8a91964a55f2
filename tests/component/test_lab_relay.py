"""The lab's relay between a client and a server of our own: no root, no namespaces."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmops.lab.connection import Side
from vmops.lab.relay import FaultKind, Relay

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


def test_bytes_pass_and_are_counted() -> None:
    async def body() -> None:
        async with relayed() as relay:
            first, second = await connect(relay), await connect(relay)
            assert await ask(first, b"a" * 10) == b"a" * 10
            assert await ask(first, b"b") == b"b"
            assert await ask(second, b"c" * 5) == b"c" * 5
            traffic = relay.traffic
            assert (traffic.connections, len(relay.open)) == (2, 2)
            assert (traffic.bytes_to_worker, traffic.bytes_to_operator) == (16, 16)
            assert traffic.turns == 3

    run(body())


def test_an_end_of_input_passes_and_the_answer_still_comes() -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%d" % len(await reader.read()))
        writer.close()

    async def body() -> None:
        async with relayed(count) as relay:
            relay.delay_s = 0.02
            reader, writer = await connect(relay)
            writer.write(b"x" * 1234)
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), LIMIT_S) == b"1234"
            writer.close()

    run(body())


def test_both_sides_send_small_packets_at_once() -> None:
    async def body() -> None:
        async with relayed() as relay:
            await ask(await connect(relay))
            (connection,) = relay.open
            for end in (connection.operator, connection.worker):
                assert end.transport is not None
                end_socket = end.transport.get_extra_info("socket")
                assert end_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1

    run(body())


@pytest.mark.parametrize("rtt_ms", [20, 100])
def test_a_delay_costs_each_round_trip_and_two_to_connect(rtt_ms: int) -> None:
    async def body() -> None:
        async with relayed() as relay:
            relay.delay_s = rtt_ms / 2000
            connecting, asking = [], []
            for _ in range(3):
                began = time.monotonic()
                streams = await connect(relay)
                await ask(streams)
                connected = time.monotonic()
                await ask(streams)
                connecting.append((connected - began) * 1000)
                asking.append((time.monotonic() - connected) * 1000)
            # The quickest counts: the machine may be busy.
            assert 2 * rtt_ms <= min(connecting) < 2 * rtt_ms + 25
            assert rtt_ms <= min(asking) < rtt_ms + 10

    run(body())


def test_a_delay_is_no_limit_of_bandwidth() -> None:
    async def body() -> None:
        async with relayed() as relay:
            relay.delay_s = 0.05
            streams = await connect(relay)
            await ask(streams)
            size = 8 * 2**20
            began = time.monotonic()
            assert len(await ask(streams, b"z" * size)) == size
            assert time.monotonic() - began < 2.0

    run(body())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), st.sampled_from([0.0, 0.001, 0.003])), max_size=15))
def test_order_is_kept_when_the_delay_changes(pieces: list[tuple[int, float]]) -> None:
    async def body() -> None:
        async with relayed() as relay:
            reader, writer = await connect(relay)
            sent = b""
            for number, (size, delay) in enumerate(pieces):
                relay.delay_s = delay
                data = bytes([number]) * size
                writer.write(data)
                await writer.drain()
                sent += data
                await asyncio.sleep(0)
            assert await asyncio.wait_for(reader.readexactly(len(sent)), LIMIT_S) == sent

    run(body())


def test_drop_ends_connections_and_refuses_new_ones() -> None:
    async def body() -> None:
        async with relayed() as relay:
            streams = await connect(relay)
            await ask(streams)
            relay.plan_fault("drop", 0)
            assert await asyncio.wait_for(streams[0].read(), LIMIT_S) == b""
            with pytest.raises(ConnectionRefusedError):
                await connect(relay)
            await relay.heal()
            assert await ask(await connect(relay)) == b"ping"

    run(body())


def test_reset_ends_connections_old_and_new_with_a_reset() -> None:
    async def body() -> None:
        async with relayed() as relay:
            streams = await connect(relay)
            await ask(streams)
            relay.plan_fault("reset", 0)
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(streams[0].read(), LIMIT_S)
            new = await connect(relay)
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(new[0].read(), LIMIT_S)
            await relay.heal()
            assert await ask(await connect(relay)) == b"ping"

    run(body())


def test_freeze_holds_everything_and_a_heal_lets_it_go() -> None:
    async def body() -> None:
        async with relayed() as relay:
            old = await connect(relay)
            await ask(old)
            relay.plan_fault("freeze", 0)
            new = await connect(relay)
            for number, (_, writer) in enumerate((old, new)):
                writer.write(b"held%d" % number)
            assert await is_silent(old[0])
            assert await is_silent(new[0])
            assert relay.traffic.bytes_to_worker == len(b"ping")
            await relay.heal()
            for number, (reader, _) in enumerate((old, new)):
                got = await asyncio.wait_for(reader.readexactly(5), LIMIT_S)
                assert got == b"held%d" % number

    run(body())


def test_freeze_passes_no_end_of_a_connection() -> None:
    ended = asyncio.Event()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"!")
        await reader.read()
        ended.set()
        writer.close()

    async def body() -> None:
        async with relayed(watch) as relay:
            reader, writer = await connect(relay)
            await reader.readexactly(1)
            relay.plan_fault("freeze", 0)
            writer.close()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ended.wait(), 0.2)
            await relay.heal()
            await asyncio.wait_for(ended.wait(), LIMIT_S)

    run(body())


@pytest.mark.parametrize("delay_s", [0.0, 0.01], ids=["near", "far"])
@pytest.mark.parametrize("after", [1, 1000, 100_000])
@pytest.mark.parametrize("kind", ["drop", "freeze"])
def test_a_fault_after_n_bytes_lets_exactly_n_through(
    kind: FaultKind, after: int, delay_s: float
) -> None:
    async def body() -> None:
        async with relayed() as relay:
            relay.delay_s = delay_s
            reader, writer = await connect(relay)
            await ask((reader, writer), b"before")
            relay.plan_fault(kind, after)
            assert relay.planned == f"{kind} after {after} bytes"
            writer.write(b"x" * 300_000)
            got = await asyncio.wait_for(reader.readexactly(after), LIMIT_S)
            assert got == b"x" * after
            assert relay.traffic.bytes_to_operator == after + len(b"before")
            assert relay.fault == kind
            if kind == "freeze":
                assert await is_silent(reader)
                await relay.heal()
                rest = await asyncio.wait_for(reader.readexactly(300_000 - after), LIMIT_S)
                assert rest == b"x" * (300_000 - after)
            else:
                with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                    await asyncio.wait_for(reader.readexactly(1), LIMIT_S)

    run(body())


@pytest.mark.parametrize("after", [1, 1000, 100_000])
def test_a_reset_after_n_bytes_lets_at_most_n_through(after: int) -> None:
    async def read_all(reader: asyncio.StreamReader, got: list[bytes]) -> None:
        while data := await reader.read(65536):
            got.append(data)

    async def body() -> None:
        async with relayed() as relay:
            reader, writer = await connect(relay)
            relay.plan_fault("reset", after)
            writer.write(b"x" * 300_000)
            got: list[bytes] = []
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(read_all(reader, got), LIMIT_S)
            assert len(b"".join(got)) <= after
            assert relay.traffic.bytes_to_operator == after
            assert relay.fault == "reset"

    run(body())


@pytest.mark.parametrize("after", [1, 1000, 100_000])
@pytest.mark.parametrize("kind", ["drop", "freeze", "strand"])
def test_a_fault_after_n_bytes_to_the_worker_lets_exactly_n_reach_it(
    kind: FaultKind, after: int
) -> None:
    got = bytearray()

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                got.extend(data)
        writer.close()

    async def body() -> None:
        async with relayed(collect) as relay:
            _reader, writer = await connect(relay)
            relay.plan_fault(kind, after, toward="worker")
            assert relay.planned == f"{kind} after {after} bytes to the worker"
            writer.write(b"x" * 300_000)
            async with asyncio.timeout(LIMIT_S):
                while len(got) < after:
                    await asyncio.sleep(0.001)
            assert relay.fault == kind
            assert relay.traffic.bytes_to_worker == after
            if kind != "drop":
                await asyncio.sleep(0.1)
                assert len(got) == after
                await relay.heal()
                async with asyncio.timeout(LIMIT_S):
                    while len(got) < 300_000:
                        await asyncio.sleep(0.001)

    run(body())


@pytest.mark.parametrize("toward", ["operator", "worker"])
def test_strand_holds_what_was_open_and_lets_new_ones_pass(toward: Side) -> None:
    async def body() -> None:
        async with relayed() as relay:
            old = await connect(relay)
            await ask(old)
            relay.plan_fault("strand", 0, toward=toward)
            old[1].write(b"held")
            new = await connect(relay)
            assert await ask(new) == b"ping"
            assert await is_silent(old[0])
            assert relay.fault == "strand"
            await relay.heal()
            assert await asyncio.wait_for(old[0].readexactly(4), LIMIT_S) == b"held"
            assert await ask(new) == b"ping"

    run(body())


def test_a_worker_that_refuses_ends_the_connection_and_leaves_none_open() -> None:
    async def body() -> None:
        async with relayed() as relay:

            async def refuse() -> socket.socket:
                raise ConnectionRefusedError

            relay.dial = refuse
            reader, _writer = await connect(relay)
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(), LIMIT_S)
            assert not relay.open

    run(body())


def test_a_closed_connection_is_forgotten() -> None:
    async def body() -> None:
        async with relayed() as relay:
            streams = await connect(relay)
            await ask(streams)
            streams[1].close()
            await streams[1].wait_closed()
            async with asyncio.timeout(LIMIT_S):
                while relay.open:
                    await asyncio.sleep(0.001)

    run(body())


def test_an_operator_who_leaves_before_the_worker_is_reached_leaves_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body() -> None:
        async with relayed() as relay:
            dial, reached = relay.dial, asyncio.Event()

            async def slowly() -> socket.socket:
                made = await dial()
                relay.plan_fault("drop", 0)
                reached.set()
                return made

            relay.dial = slowly
            reader, _writer = await connect(relay)
            await asyncio.wait_for(reached.wait(), LIMIT_S)
            assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""
            assert not relay.open

    run(body())
    assert not caplog.records


def test_a_slow_reader_makes_the_sender_wait() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(b"f" * 2**20)
                await writer.drain()

    async def body() -> None:
        async with relayed(flood) as relay:
            client = socket.create_connection((relay.address, relay.port))
            before = -1
            while before != relay.traffic.bytes_to_operator:
                before = relay.traffic.bytes_to_operator
                await asyncio.sleep(0.3)
            assert 0 < before < 64 * 2**20
            client.close()

    run(body())
