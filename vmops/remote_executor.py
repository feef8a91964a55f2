"""RemoteExecutor, the documented API for running a command or a local script on a worker."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from vmops.core.inventory.model import Worker
from vmops.errors import VmopsError
from vmops.nameless import expanded, path_in

if TYPE_CHECKING:
    import fabric

    from vmops.core.inventory.inventory import Inventory
    from vmops.remote.run import CommandLine

logger = logging.getLogger("vmops")


class RemoteExecutor:
    """Commands and scripts as `remote_user`, over one SSH connection for each worker.

    An address that the inventory lists gets that worker's port, identity file, gateway and host-key
    policy. Without `inventory` it is the file that VMOPS_HOSTS names, when it names one. `config`
    is fab's, with its options; without one, ssh_config and Fabric's own files decide.

    No method raises for a remote failure: it is in the result, and logged to `vmops`.
    """

    def __init__(
        self,
        remote_user: str = "ubuntu",
        *,
        inventory: Inventory | None = None,
        config: fabric.Config | None = None,
    ) -> None:
        self.remote_user = remote_user
        self.config = config
        self._given_inventory = inventory

    def execute_direct(
        self, remote_ip: str, command: str, timeout: float | None = 30
    ) -> tuple[bool, str]:
        """Run an inline command; several lines run one after the other in one shell.

        `(True, stdout)` on exit code 0. `(False, stderr)` on any other, and `(False, message)` when
        it could not be run, or not within `timeout` seconds; it is ended on the worker then. What
        it had printed before stands behind the message. None is as long as it takes, up to 23 days.
        """
        from vmops.remote.run import CommandLine

        return self._execute(remote_ip, CommandLine(command), timeout)

    def execute(
        self,
        remote_ip: str,
        script_path: str | os.PathLike[str],
        args: Sequence[str] | None = None,
        timeout: float | None = 30,
    ) -> tuple[bool, str]:
        """Stream a local script to bash on the worker, with `args` as its $1, $2, and so on.

        bash has read the whole script before its first line runs, and its commands have an empty
        input. Each of `args` arrives as one argument, whatever is in it. The result is that of
        `execute_direct`; `(False, message)` also for a script that cannot be read here.
        """
        try:
            script = expanded(script_path).read_bytes()
        except OSError as error:
            return self._failed(f"{script_path} cannot be read: {error.strerror}")
        from vmops.remote.run import script_line

        return self._execute(
            remote_ip, script_line(script, [str(arg) for arg in args or ()]), timeout
        )

    def worker(self, remote_ip: str, *, vnc_listen: str | None = None) -> Worker:
        """The worker behind an address or a name of the inventory, used as `remote_user`.

        `vnc_listen` is where its VMs' screens listen, instead of what the inventory says. Raises
        InventoryError.
        """
        if self._inventory is None:
            worker = Worker(remote_ip, address=remote_ip)
        else:
            worker = self._inventory.worker(remote_ip)
        worker = replace(worker, user=self.remote_user)
        return worker if vnc_listen is None else replace(worker, vnc_listen=vnc_listen)

    @cached_property
    def _inventory(self) -> Inventory | None:
        if self._given_inventory is not None:
            return self._given_inventory
        hosts = path_in("VMOPS_HOSTS")
        if hosts is None:
            return None
        from vmops.inventory_file import load_once

        return load_once(hosts)

    def _execute(
        self, remote_ip: str, command: CommandLine, timeout: float | None
    ) -> tuple[bool, str]:
        from vmops.remote.run import Collected, stream

        printed = Collected(remote_ip)
        try:
            worker = self.worker(remote_ip)
            code = stream(worker, command, printed, time_limit=timeout, config=self.config)
        except VmopsError as error:
            return self._failed(_with_output(str(error), printed.stdout, printed.stderr))
        if code == 0:
            return True, printed.stdout.decode(errors="replace")
        said = printed.stderr.decode(errors="replace")
        how = f"exit code {code}" if code > 0 else "ended by a signal"
        logger.error("%s: %s: %s", worker.name, how, said.strip())
        return False, said

    def _failed(self, message: str) -> tuple[bool, str]:
        logger.error("%s", message)
        return False, message


def _with_output(message: str, stdout: bytes, stderr: bytes) -> str:
    """A message, and what the command had printed before, each stream under a heading."""
    parts = [message]
    for name, data in (("output", stdout), ("error output", stderr)):
        if data:
            text = data.decode(errors="replace").rstrip("\n")
            parts.append(f"{name} until then:\n{text}")
    return "\n".join(parts)
