"""A second client at a VM's monitors, past vmops: to see what QEMU says, and to be in the way."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vmops.core.inventory.model import VM

from .lab_helpers import wait_until
from .operator import Operator

FIRST, SECOND = "qmp.sock", "qmp-human.sock"
CAPABILITIES = b'{"execute": "qmp_capabilities"}\n'


class Listener:
    """A session that is open: nobody else has a turn at that socket."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def tell(self, command: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        words = {key.replace("_", "-"): value for key, value in arguments.items()}
        request = {"execute": command, "arguments": words}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """The next line."""
        assert self._process.stdout is not None
        message: dict[str, Any] = json.loads(self._process.stdout.readline())
        return message

    def events(self) -> list[dict[str, Any]]:
        """Everything that was said until QEMU ended."""
        assert self._process.stdout is not None
        said = [json.loads(line) for line in self._process.stdout.read().splitlines()]
        return [message for message in said if "event" in message]

    def shutdown(self) -> dict[str, Any]:
        """The data of QEMU's farewell."""
        (farewell,) = [e["data"] for e in self.events() if e["event"] == "SHUTDOWN"]
        return dict(farewell)


@contextmanager
def listening(
    operator: Operator, vm: VM, socket: str = SECOND, *, worker: str = "worker1"
) -> Iterator[Listener]:
    """Listen at one of the VM's monitors, past vmops, while the block lasts."""
    path = f"/run/vmops/{vm.name}/{socket}"
    argv = operator.lab.enter(worker, ["socat", "-", f"UNIX-CONNECT:{path}"])
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        listener = Listener(process)
        try:
            assert "QMP" in listener.hear()
            listener.tell("qmp_capabilities")
            assert listener.hear() == {"return": {}}
            yield listener
        finally:
            process.kill()


def tell(operator: Operator, vm: VM, command: str, *, worker: str = "worker1") -> None:
    """Send one command to the VM's second monitor, past vmops."""
    with listening(operator, vm, worker=worker) as listener:
        listener.tell(command)
        listener.hear()


def gone(operator: Operator, vm: VM, *, worker: str = "worker1") -> bool:
    return vm.name not in operator.qemus(worker)


def wait_gone(operator: Operator, vm: VM, *, worker: str = "worker1") -> None:
    wait_until(lambda: gone(operator, vm, worker=worker))
