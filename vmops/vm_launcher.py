"""VMLauncher, the documented API for launching and stopping one VM from a dict."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from vmops.core.inventory.model import VM
from vmops.core.plan.group import Terms
from vmops.core.plan.stopping import KILLED
from vmops.errors import VmopsError
from vmops.ops.route import Route
from vmops.ops.vm import lifecycle, stopping
from vmops.ops.vm.outcome import Outcome
from vmops.remote_executor import RemoteExecutor

logger = logging.getLogger("vmops")

DOCUMENTED_LISTEN = "0.0.0.0"
"""The documented system's VNC is open to the network and without a password."""


class VMLauncher:
    """Launch and stop VMs as documented: never raises for a failure, the reason is logged.

    QEMU gets the documented command line, `-vnc 0.0.0.0` included: everybody who reaches the
    worker reaches the VM's screen, without a password. `vnc_listen="127.0.0.1"` tightens it: the
    worker's loopback, and nobody gets in without a password of `vnc_password`. None is as the
    executor's inventory says. A VM that hosts.toml wants to listen elsewhere drifts.
    """

    def __init__(
        self, executor: RemoteExecutor, *, vnc_listen: str | None = DOCUMENTED_LISTEN
    ) -> None:
        self.executor = executor
        self.vnc_listen = vnc_listen

    def launch_vm(self, worker_ip: str, vm_dict: Mapping[str, Any]) -> tuple[bool, str | None]:
        """Plug, boot and find the PID: `(True, pid)`.

        `(False, None)` when QEMU did not start; what was made is undone then. An interface that
        cannot be plugged is logged as an error and left out, and be it the only one.
        """
        bare = Terms(bare=True)
        outcome = self._do(
            worker_ip, vm_dict, lambda route, vm: lifecycle.launch(route, [vm], terms=bare)
        )
        return (True, str(outcome.pid)) if outcome is not None else (False, None)

    def stop_vm(self, worker_ip: str, vm_dict: Mapping[str, Any]) -> bool:
        """Kill the VM's QEMU (SIGKILL), then remove its ports and TAPs.

        True also when nothing was there; False on failure.
        """
        outcome = self._do(
            worker_ip, vm_dict, lambda route, vm: stopping.stop(route, [vm], manner=KILLED)
        )
        return outcome is not None

    def vnc_password(
        self, worker_ip: str, vm_dict: Mapping[str, Any], seconds: int = 120
    ) -> tuple[bool, str | None]:
        """Make a random VNC password that new clients get in with for so many seconds.

        `(True, password)`; it replaces the one before. `(True, "")` for a VM whose VNC asks for
        none. `(False, None)` when the VM does not run, or could not be asked.
        """
        from vmops.ops.guest.vnc import lend_password

        try:
            route, vm = self._route(worker_ip, vm_dict)
            return True, lend_password(route, vm, seconds=seconds)
        except VmopsError as error:
            logger.error("%s", error)
            return False, None

    def _route(self, worker_ip: str, vm_dict: Mapping[str, Any]) -> tuple[Route, VM]:
        vm = VM.from_dict(vm_dict)
        worker = self.executor.worker(worker_ip, vnc_listen=self.vnc_listen)
        return Route(worker, self.executor.config), vm

    def _do(
        self,
        worker_ip: str,
        vm_dict: Mapping[str, Any],
        work: Callable[[Route, VM], list[Outcome]],
    ) -> Outcome | None:
        try:
            route, vm = self._route(worker_ip, vm_dict)
            (outcome,) = work(route, vm)
        except VmopsError as error:
            logger.error("%s", error)
            return None
        for note in outcome.notes:
            logger.warning("%s", note)
        for skip in outcome.skipped:
            logger.error("%s: interface %s is left out: %s", vm.name, skip.interface, skip.reason)
        if outcome.error is not None:
            logger.error("%s", outcome.error)
            return None
        return outcome
