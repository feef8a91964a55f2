"""The lab's relay between a client and a server of our own: no root, no namespaces."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .relays import LIMIT_S, ask, connect, relayed, run


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
