"""The lab's one long-lived process: parent of the switch and the workers, and their relay.

Started as `python -m vmops.lab.supervisor DIRECTORY [OWNER]`, it returns when it listens on the
control socket, and goes on in the background, until the process OWNER ends. Killing it, with
whatever signal, ends the lab: each child dies with its parent, and the kernel ends a PID namespace
with its PID 1.

The control socket takes one JSON object per line, `{"do": VERB, ...}`, and answers with one: the
lab's status, `{"refused": TEXT}` where the request makes no sense, or `{"error": TEXT}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vmops.errors import InventoryError, WorkFailed
from vmops.lab import kernel
from vmops.lab.connection import SIDES
from vmops.lab.layout import SWITCH, Layout, worker_name
from vmops.lab.relay import FAULTS, Relay
from vmops.lab.tools import PACKAGE_ROOT, last_words

START_LIMIT_S = 60.0
STARTS_AT_ONCE = 8
SSH_PORT = 22
MAX_RTT_MS = 60_000
NAMESPACES = ("--net", "--mount", "--pid", "--uts", "--ipc")


@dataclass(slots=True)
class Child:
    """PID 1 of a set of namespaces; `process` is its parent there, an `unshare`."""

    process: asyncio.subprocess.Process
    pid: int

    @property
    def alive(self) -> bool:
        """True until it has ended."""
        return self.process.returncode is None

    async def end(self) -> None:
        """Kill it, and return when everything in its PID namespace is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        await self.process.wait()


@dataclass(slots=True)
class Worker:
    """A worker and the relay that leads to it, which outlives a worker that died."""

    number: int
    child: Child
    relay: Relay


class Supervisor:
    """The state of a running lab."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.switch: Child | None = None
        self.workers: dict[str, Worker] = {}
        self._growing = asyncio.Lock()
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)
        self._dialler = ThreadPoolExecutor(1, thread_name_prefix="dialler")

    async def grow(self, request: dict[str, Any]) -> None:
        """Start what is missing of the workers 1 to `workers`.

        Raises WorkFailed when one does not start; those that did stay.
        """
        async with self._growing:
            if self.switch is None or not self.switch.alive:
                self.switch = await self._start(SWITCH, "vmops.lab.switch")
            wanted = {
                worker_name(number): number for number in range(1, int(request["workers"]) + 1)
            }
            results = await asyncio.gather(
                *(
                    self._start_worker(name, number)
                    for name, number in wanted.items()
                    if name not in self.workers or not self.workers[name].child.alive
                ),
                return_exceptions=True,
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    async def _start_worker(self, name: str, number: int) -> None:
        assert self.switch is not None
        async with self._starts:
            child = await self._start(name, "vmops.lab.worker", str(self.switch.pid))
        if name in self.workers:
            self.workers[name].child = child
            return
        relay = Relay(self.layout.address(number), self.layout.port, lambda: self._dial(name))
        try:
            await relay.listen()
        except OSError as error:
            await child.end()
            raise WorkFailed(
                f"{name} cannot listen at {self.layout.address(number)}, port {self.layout.port}:"
                f" {os.strerror(error.errno) if error.errno else error}",
                cure="choose another place for the lab: --network 127.0.N, or --port",
            ) from error
        self.workers[name] = Worker(number, child, relay)

    async def stop(self) -> None:
        """End the workers, then the switch."""
        await asyncio.gather(*(worker.child.end() for worker in self.workers.values()))
        if self.switch is not None:
            await self.switch.end()

    async def _start(self, name: str, module: str, *arguments: str) -> Child:
        log = self.layout.logs / f"{name}.log"
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL"),
                *("unshare", "--fork", "--kill-child=KILL", *NAMESPACES),
                *(sys.executable, "-m", module, str(self.layout.directory), name, *arguments),
                cwd=PACKAGE_ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
            )
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), START_LIMIT_S)
        except TimeoutError:
            line = b""
        if not line:
            if process.returncode is None:
                process.kill()
            await process.wait()
            raise WorkFailed(f"{name} did not start: {last_words(log)}")
        return Child(process, int(line))

    async def _dial(self, name: str) -> socket.socket:
        """A connection to the worker's sshd. Raises OSError."""
        child = self.workers[name].child
        if not child.alive:
            raise ConnectionRefusedError(f"{name} is down")
        loop = asyncio.get_running_loop()
        made = await loop.run_in_executor(self._dialler, _socket_inside, child.pid)
        try:
            await loop.sock_connect(made, ("127.0.0.1", SSH_PORT))
        except OSError:
            made.close()
            raise
        return made

    def _relay(self, request: dict[str, Any]) -> Relay:
        name = request["worker"]
        if name not in self.workers:
            raise InventoryError(
                f"the lab has no worker {name!r}; it has {', '.join(sorted(self.workers))}"
            )
        return self.workers[name].relay

    async def fault(self, request: dict[str, Any]) -> None:
        """Break one worker's connections, at once or after some bytes."""
        kind, after_bytes = request["kind"], int(request["after_bytes"])
        toward = request["toward"]
        if kind not in FAULTS:
            raise InventoryError(f"there is no fault {kind!r}; there are {', '.join(FAULTS)}")
        if after_bytes < 0:
            raise InventoryError(f"a fault comes after 0 bytes or more, not {after_bytes}")
        if toward not in SIDES:
            raise InventoryError(f"bytes go toward {' or '.join(SIDES)}, not toward {toward!r}")
        relay = self._relay(request)
        await relay.heal()
        relay.plan_fault(kind, after_bytes, toward=toward)

    async def heal(self, request: dict[str, Any]) -> None:
        """End one worker's fault."""
        await self._relay(request).heal()

    async def delay(self, request: dict[str, Any]) -> None:
        """Set one worker's round trip."""
        rtt_ms = float(request["rtt_ms"])
        if not 0 <= rtt_ms <= MAX_RTT_MS:
            raise InventoryError(f"a round trip takes 0 to {MAX_RTT_MS} ms, not {rtt_ms:g}")
        self._relay(request).delay_s = rtt_ms / 2000

    def status(self) -> dict[str, Any]:
        """All that there is to know, as LabStatus wants it."""
        return {
            "pid": os.getpid(),
            "switch_pid": self.switch.pid if self.switch and self.switch.alive else None,
            "workers": [
                {
                    "name": name,
                    "address": worker.relay.address,
                    "port": worker.relay.port,
                    "state": "running" if worker.child.alive else "down",
                    "pid": worker.child.pid if worker.child.alive else None,
                    "fault": worker.relay.fault or worker.relay.planned,
                    "delay_ms": worker.relay.delay_s * 2000,
                    "open_connections": len(worker.relay.open),
                    **asdict(worker.relay.traffic),
                }
                for name, worker in sorted(self.workers.items(), key=lambda item: item[1].number)
            ],
        }

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client of the control socket."""
        verbs = {"grow": self.grow, "fault": self.fault, "heal": self.heal, "delay": self.delay}
        while line := await reader.readline():
            try:
                request = json.loads(line)
                if request["do"] != "status":
                    await verbs[request["do"]](request)
                reply = self.status()
            except InventoryError as error:
                reply = {"refused": str(error)}
            except (WorkFailed, OSError) as error:
                reply = {"error": str(error)}
            except (KeyError, ValueError, TypeError) as error:
                reply = {"refused": f"the lab cannot read the request {line!r}: {error!r}"}
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
        writer.close()


def _socket_inside(pid: int) -> socket.socket:
    """A socket of that process's network. The thread that calls stays in that network."""
    kernel.enter_network(Path(f"/proc/{pid}/ns/net"))
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    return made


async def serve(layout: Layout, listener: socket.socket, owner: int | None) -> None:
    """Answer requests until SIGTERM, or the owner's end; then end all that was started."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    if owner is not None:
        loop.add_reader(owner, ended.set)
    supervisor = Supervisor(layout)
    await asyncio.start_unix_server(supervisor.answer, sock=listener)
    await ended.wait()
    if owner is not None:
        loop.remove_reader(owner)
    await supervisor.stop()


def main() -> None:
    """Listen, then go to the background and serve."""
    layout = Layout.load(Path(sys.argv[1]))
    if layout is None:
        sys.exit(f"there is no lab in {sys.argv[1]}")
    owner = os.pidfd_open(int(sys.argv[2])) if len(sys.argv) > 2 else None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(layout.control))
    listener.listen(64)
    if os.fork() == 0:
        os.setsid()
        asyncio.run(serve(layout, listener, owner))


if __name__ == "__main__":
    main()
