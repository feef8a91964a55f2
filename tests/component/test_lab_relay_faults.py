"""The faults of a lab's relay: what passes, what is held, and who hears of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from vmops.lab.connection import Side
from vmops.lab.relay import FaultKind

from .relays import LIMIT_S, ask, connect, is_silent, relayed, run


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
