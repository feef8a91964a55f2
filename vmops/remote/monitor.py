"""Short, bounded talks in QMP with the monitors of a worker's VMs, with all of them at once."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar, cast

import fabric
from qemu.qmp import (
    ConnectError,
    ExecInterruptedError,
    ExecuteError,
    Message,
    QMPClient,
    QMPError,
    Runstate,
    StateError,
)

from vmops.core.inventory.model import Worker
from vmops.core.names import RunDirectory
from vmops.core.tools import qmp
from vmops.core.tools.qmp import Request
from vmops.errors import CommandTimeout, MonitorError, VmopsError
from vmops.remote.forward import open_socket_of
from vmops.remote.ssh.connection import WorkerConnection, connection
from vmops.remote.ssh.translate import lost
from vmops.remote.ssh.transport import WorkerTransport
from vmops.wait import wait_for

MOST_OPENING = 32
"""Sockets of one worker that are opened at the same time."""

OPENING_LIMIT_S = 5.0
"""How long sshd may take to open a socket. That is the link's and the worker's time, not QEMU's."""

FIRST_SOCKET_S = 1.0
"""How long a greeting of the first of the two sockets is waited for, once it is open."""

LONGEST_QUOTE = 200

_CUT_OFF_S = 0.3
"""How much later than its channels a connection may say that it has ended."""

_SESSION_FAILURES = (QMPError, EOFError, OSError, ValueError)
"""What ends a session: QEMU hung up, or said what is no QMP."""

T = TypeVar("T")

_library_log = logging.getLogger("qemu.qmp")
_library_log.addHandler(logging.NullHandler())
_library_log.setLevel(logging.INFO)
"""Its debug messages hold every request, a VNC password among them."""


class _Client(QMPClient):
    """The library's, without its log of each message, which takes longer than reading one does."""

    def _cb_inbound(self, msg: Message) -> Message:
        return msg

    def _cb_outbound(self, msg: Message) -> Message:
        return msg


class SocketRefused(MonitorError):
    """The monitor's socket cannot be opened: nobody listens, or the SSH user may not open it."""


class Unanswered(MonitorError):
    """The monitor is there, and no greeting or answer came in time."""


class Monitor:
    """An open session with one VM's monitor. What fails is a MonitorError, or ConnectionLost."""

    def __init__(
        self,
        client: QMPClient,
        vm: str,
        worker: str,
        time_limit: float,
        transport: WorkerTransport | None,
    ) -> None:
        self._client = client
        self._transport = transport
        self._vm = vm
        self._worker = worker
        self._time_limit = time_limit
        self._negotiated = False

    @property
    def vm(self) -> str:
        """The name of the VM."""
        return self._vm

    @property
    def worker(self) -> str:
        """The name of its worker."""
        return self._worker

    async def ask(self, *requests: Request) -> list[Any]:
        """The answers, in order. The requests go out together: one round trip for all of them.

        MonitorError when one is refused, when the answers do not come in time, or when QEMU ends;
        ConnectionLost when the session ended with the connection.
        """
        opening = () if self._negotiated else (qmp.CAPABILITIES,)
        self._negotiated = True
        sent = (*opening, *requests)
        names = ", ".join(request.command for request in requests)
        try:
            async with asyncio.timeout(self._time_limit):
                answers = await asyncio.gather(
                    *(self._client.execute(entry.command, entry.arguments) for entry in sent)
                )
        except TimeoutError as error:
            what = f"the monitor does not answer {names} within {self._time_limit:g} s"
            raise Unanswered(f"{self._vm}: {what}", worker=self._worker) from error
        except ExecuteError as error:
            command = error.sent.get("execute")
            raise self.failure(f"QEMU refuses {command}: {_short(error)}") from error
        except (ExecInterruptedError, StateError) as error:
            if await self.is_cut_off():
                raise lost(self._worker) from error
            raise self.failure(f"asked for {names}: {await self._why_closed()}") from error
        except QMPError as error:
            what = f"QEMU's answer to {names} cannot be read: {_short(error)}"
            raise self.failure(what) from error
        return answers[len(opening) :]

    async def ended(self, time_limit: float) -> bool:
        """Wait until QEMU has closed the session, which it does when it ends; False in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(time_limit):
                while self._client.runstate == Runstate.RUNNING:
                    await self._client.runstate_changed()
        return self._client.runstate != Runstate.RUNNING

    def farewell(self) -> Mapping[str, Any] | None:
        """The data of the event with which QEMU says that it ends; None when it said nothing."""
        said = [event for event in self._client.events.history if event["event"] == qmp.SHUTDOWN]
        return cast("Mapping[str, Any]", said[-1].get("data", {})) if said else None

    async def is_cut_off(self) -> bool:
        """True when the SSH connection has ended, so that nothing is known of QEMU. For a session
        that has ended."""

        return await _is_cut_off(self._transport)

    async def close(self) -> None:
        """End the session, so that the next one's turn comes."""
        with suppress(TimeoutError, *_SESSION_FAILURES):
            async with asyncio.timeout(self._time_limit):
                await self._client.disconnect()

    def failure(self, what: str, *, cure: str = "") -> MonitorError:
        """An error that names this VM and its worker."""
        return MonitorError(f"{self._vm}: {what}", worker=self._worker, cure=cure)

    async def _why_closed(self) -> str:
        try:
            await self._client.disconnect()
        except (QMPError, ValueError) as error:
            return f"the answer is cut short, or no QMP: {_short(error)}"
        except _SESSION_FAILURES:
            return "QEMU ended, or hung up"
        return "the monitor was closed"


Conversation = Callable[[Monitor], Awaitable[T]]

Doubt = Callable[[str], VmopsError | None]
"""Why the monitor of that VM says nothing, None where that is not known. Asked in a thread."""


def talk(
    worker: Worker,
    vms: Sequence[str],
    conversation: Conversation[T],
    *,
    time_limit: float,
    config: fabric.Config | None = None,
    doubt: Doubt | None = None,
) -> dict[str, T | VmopsError]:
    """Hold the conversation with each VM's monitor, all at once: its result, or what failed, by VM.

    `time_limit`, in seconds, is for QEMU's greeting, and then for each answer. It serves one client
    of a socket at a time: where somebody has the first one, the one for humans is tried, unless
    `doubt`, which is asked in between, knows why neither will answer.
    The conversation raises ValueError for what it cannot read, a MonitorError in the result. The
    other errors are SocketRefused, Unanswered, ConnectionLost and those of `connection`.
    """
    try:
        opened = connection(worker, config=config)
    except VmopsError as error:
        return dict.fromkeys(vms, error)

    transport = opened.transport

    async def one(vm: str) -> T | VmopsError:
        try:
            client = await _greeted(opened, worker.name, vm, time_limit, doubt)
            monitor = Monitor(client, vm, worker.name, time_limit, transport)
            try:
                return await conversation(monitor)
            finally:
                await monitor.close()
        except VmopsError as error:
            return error
        except ValueError as error:
            return MonitorError(f"{vm}: what QEMU said cannot be read: {error}", worker=worker.name)

    async def all_of_them() -> list[T | VmopsError]:
        opening = ThreadPoolExecutor(max(1, min(MOST_OPENING, len(vms))))
        asyncio.get_running_loop().set_default_executor(opening)
        return await asyncio.gather(*(one(vm) for vm in vms))

    return dict(zip(vms, asyncio.run(all_of_them()), strict=True))


async def _greeted(
    opened: WorkerConnection, worker: str, vm: str, time_limit: float, doubt: Doubt | None
) -> QMPClient:
    """A session that QEMU has greeted, on the first of its two sockets that is free."""
    run = RunDirectory(vm)
    patience = min(FIRST_SOCKET_S, time_limit / 2)
    refused: MonitorError | None = None
    transport = opened.transport
    for path, limit in ((run.monitor, patience), (run.monitor_for_humans, time_limit - patience)):
        client = _Client()
        client.negotiate = False
        try:
            socket = await asyncio.to_thread(
                open_socket_of, opened, worker, path, time_limit=OPENING_LIMIT_S
            )
            async with asyncio.timeout(limit):
                await client.connect(socket)
        except TimeoutError:
            reason = await asyncio.to_thread(doubt, vm) if doubt and path == run.monitor else None
            if reason is not None:
                raise reason from None
            continue
        except MonitorError as error:
            refused = error
            continue
        except CommandTimeout as late:
            what = f"{vm}: its monitor cannot be reached: {late.what}"
            raise Unanswered(what, worker=worker, cure=late.cure) from late
        except ConnectError as error:
            if await _is_cut_off(transport):
                raise lost(worker) from error
            what = f"{vm}: its monitor does not greet: {_why(error)}"
            raise MonitorError(what, worker=worker) from error
        return client
    cure = f"see who has it, there: sudo ss -xp | grep {run.path}/qmp"
    if refused is not None:
        what = f"{vm}: the monitor takes no client: it is busy, or QEMU has ended"
        raise SocketRefused(what, worker=worker, cure=cure) from refused
    what = f"{vm}: the monitor is busy or does not answer: no greeting within {time_limit:g} s"
    raise Unanswered(what, worker=worker, cure=cure)


async def _is_cut_off(transport: WorkerTransport | None) -> bool:
    def ended() -> bool | None:
        return None if transport and transport.is_active() else True

    pauses = itertools.repeat(0.02)
    return bool(await asyncio.to_thread(wait_for, ended, _CUT_OFF_S, pauses=pauses))


def _why(error: ConnectError) -> str:
    return "QEMU ended, or hung up" if isinstance(error.exc, EOFError) else _short(error.exc)


def _short(error: Exception) -> str:
    """The first line, and not all of that: the library quotes whatever was received."""
    return str(error).partition("\n")[0][:LONGEST_QUOTE]
