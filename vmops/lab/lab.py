"""`Lab`: start, grow, look at, break and remove a lab, from Python."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vmops.errors import InventoryError, WorkFailed
from vmops.lab.daemons import DAEMONS, DaemonName
from vmops.lab.host import SUPERVISOR, end_processes, locked
from vmops.lab.inventory import hosts_toml, known_hosts
from vmops.lab.layout import MAX_WORKERS, SWITCH, Layout, default_directory
from vmops.lab.switch import vlans_left_out, without_vlans
from vmops.lab.tools import (
    ENVIRONMENT,
    PACKAGE_ROOT,
    call,
    last_words,
    make_key,
    require_ovn,
    require_tools,
)

ANSWER_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker: where it is, how it does, and what passed through its relay so far.

    `state` is `running` or `down`; `pid` is its PID 1 as this machine sees it. `fault` is empty
    when there is none. A turn is a request that the worker answered: a round trip.
    """

    name: str
    address: str
    port: int
    state: str
    pid: int | None
    fault: str
    delay_ms: float
    open_connections: int
    connections: int
    bytes_to_worker: int
    bytes_to_operator: int
    turns: int


@dataclass(frozen=True, slots=True)
class LabStatus:
    """A running lab: its own process, the switch's PID 1, and the workers by number."""

    pid: int
    switch_pid: int | None
    workers: tuple[WorkerStatus, ...]


class Lab:
    """The lab in one directory, running or not. Several may run at once on several networks.

    Without a directory it is the one that VMOPS_LAB_DIR names, else /run/vmops-lab. Every method
    raises WorkFailed when the lab cannot do what is asked, InventoryError when asked nonsense.
    """

    def __init__(self, directory: Path | str | None = None) -> None:
        self.directory = Path(directory).absolute() if directory else default_directory()
        self._paths = Layout(self.directory)

    @property
    def inventory(self) -> Path:
        """The lab's hosts.toml."""
        return self._paths.inventory

    @property
    def private_key(self) -> Path:
        """The SSH key for the user ubuntu of every worker."""
        return self._paths.private_key

    @property
    def known_hosts(self) -> Path:
        """The workers' host keys, as OpenSSH reads them."""
        return self._paths.known_hosts

    @property
    def logs(self) -> Path:
        """The logs: the supervisor's, and for each worker its starting and its /var/log."""
        return self._paths.logs

    def up(
        self,
        workers: int = 2,
        *,
        port: int | None = None,
        network: str | None = None,
        sshd_options: Sequence[str] | None = None,
        owner: int | None = None,
        ovn: bool | None = None,
        mesh: bool | None = None,
    ) -> LabStatus:
        """Bring the lab up to at least that many workers, and return when all take logins.

        What runs is left alone; a worker that died is started again. `port`, `network` (like
        "127.0.10") and `sshd_options` (lines of sshd_config) hold for the lab's life; a lab that is
        started for an `owner`, a PID, ends with it. With `ovn`, also for its life, there are OVN's
        controllers, and on worker1 the central; with `mesh` the workers have no VLAN in common,
        but addresses for tunnels. When a worker does not start, a lab that was there before keeps
        the others, and a new one is removed.
        """
        require_tools()
        if ovn:
            require_ovn()
        if not 1 <= workers <= MAX_WORKERS:
            raise InventoryError(f"a lab has 1 to {MAX_WORKERS} workers, not {workers}")
        asked = {"port": port, "network": network, "sshd_options": sshd_options}
        asked |= {"ovn": ovn, "mesh": mesh}
        with locked(self.directory):
            is_new, is_up = Layout.load(self.directory) is None, False
            layout = self._settle({key: value for key, value in asked.items() if value is not None})
            try:
                if self.find() is None:
                    self._start(layout, owner)
                grown = self._ask("grow", workers=workers)
                is_up = True
                return grown
            finally:
                status = self.find()
                if status is None or not status.workers or (is_new and not is_up):
                    self._remove()
                else:
                    self._describe(layout, status)

    def down(self) -> bool:
        """Remove the lab: its processes, and its directory with all that is in it.

        False when there was none. Needs nothing of the lab to be alive or in order.
        """
        if not self.directory.is_dir():
            return False
        with locked(self.directory):
            there = self._paths.settings.exists()
            self._remove()
            return there

    def status(self) -> LabStatus:
        """How the lab does. Raises WorkFailed when it does not run."""
        return self._ask("status")

    def find(self) -> LabStatus | None:
        """How the lab does; None when it does not run."""
        return self._exchange("status")

    def fault(
        self, worker: str, kind: str, *, after_bytes: int = 0, toward: str = "operator"
    ) -> None:
        """Break a worker's SSH: `drop`, `freeze`, `reset` or `strand`, instead of any before.

        With `after_bytes`, that many more bytes reach the operator first, or the `worker`.
        """
        self._ask("fault", worker=worker, kind=kind, after_bytes=after_bytes, toward=toward)

    def heal(self, worker: str) -> None:
        """End a worker's fault. What a freeze held goes on its way."""
        self._ask("heal", worker=worker)

    def delay(self, worker: str, rtt_ms: float) -> None:
        """Make every round trip to the worker that much longer, half of it in each direction."""
        self._ask("delay", worker=worker, rtt_ms=rtt_ms)

    def deny_vlans(self, worker: str, vlans: Sequence[int]) -> None:
        """Have the switch's port to a worker carry every VLAN but these; all without any."""
        if worker not in [each.name for each in self.status().workers]:
            raise InventoryError(f"the lab has no worker {worker!r}")
        text = without_vlans(worker, vlans).encode()
        done = self.run(SWITCH, ("nft", "-f", "-"), stdin=text, check=False)
        if done.returncode != 0:
            reason = done.stderr.decode(errors="replace").strip()
            raise WorkFailed(
                f"the switch cannot leave VLANs out: {reason}",
                cure="apt-get install -y --no-install-recommends nftables",
            )

    def denied_vlans(self) -> dict[str, list[int]]:
        """What `deny_vlans` has left out, by worker; those with none are not there."""
        done = self.run(SWITCH, ("nft", "list", "ruleset", "bridge"), check=False)
        return vlans_left_out(done.stdout.decode(errors="replace"))

    def enter(self, name: str, argv: Sequence[str]) -> list[str]:
        """The words that run `argv` as root in a worker, or in the switch, from this machine.

        A process that is started so ends with the worker.
        """
        status = self.status()
        pids = {worker.name: worker.pid for worker in status.workers} | {SWITCH: status.switch_pid}
        if name not in pids:
            raise InventoryError(f"the lab has no worker {name!r}; it has {', '.join(pids)}")
        if pids[name] is None:
            raise WorkFailed(f"{name} is down", cure="fab lab.up starts it again")
        spaces = ("--net", "--mount", "--pid", "--uts", "--ipc", "--wd=/")
        variables = [f"{key}={value}" for key, value in ENVIRONMENT.items()]
        return ["nsenter", f"--target={pids[name]}", *spaces, "env", "-i", *variables, *argv]

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        check: bool = True,
        timeout: float = 30,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command as root in a worker, or in the switch.

        Raises subprocess.CalledProcessError and subprocess.TimeoutExpired as subprocess.run does.
        """
        return subprocess.run(
            self.enter(name, argv), input=stdin, capture_output=True, check=check, timeout=timeout
        )

    def make_image(self, worker: str, path: str, *, size_mb: int) -> None:
        """Make an empty qcow2 image in a worker, as ubuntu; `path` is absolute or begins `~/`."""
        place = path.replace("~", "/home/ubuntu", 1) if path.startswith("~/") else path
        create = ("qemu-img", "create", "-q", "-f", "qcow2", place, f"{size_mb}M")
        done = self.run(worker, ("runuser", "-u", "ubuntu", "--", *create), check=False)
        if done.returncode != 0:
            reason = done.stderr.decode(errors="replace").strip()
            raise WorkFailed(f"cannot make the image {place}: {reason}", worker=worker)

    def stop_daemon(self, worker: str, daemon: DaemonName) -> None:
        """End a daemon in a worker, and return when it is gone."""
        pid = self.run(worker, ("cat", DAEMONS[daemon].pidfile)).stdout.decode().strip()
        self.run(worker, ("kill", pid))
        self.run(worker, ("tail", "--sleep-interval=0.01", f"--pid={pid}", "-f", "/dev/null"))

    def start_daemon(self, worker: str, daemon: DaemonName) -> None:
        """Start a daemon that was stopped. sshd listens a moment later, the others at once."""
        self.run(worker, DAEMONS[daemon].argv)

    def _settle(self, asked: dict[str, Any]) -> Layout:
        """The settings of the lab that is here, or new ones, written down."""
        if "sshd_options" in asked:
            asked["sshd_options"] = tuple(asked["sshd_options"])
        there = Layout.load(self.directory)
        if there is None:
            if any(self.directory.iterdir()):
                raise WorkFailed(
                    f"{self.directory} is not empty, and not a lab's",
                    cure="name another directory in VMOPS_LAB_DIR",
                )
            there = replace(self._paths, **asked)
            there.save()
        if replace(there, **asked) != there:
            raise WorkFailed(
                f"the lab in {self.directory} has other settings: network {there.network}, "
                f"port {there.port}, sshd options {list(there.sshd_options)}, "
                f"{'with' if there.ovn else 'without'} OVN, "
                f"{'for' if there.mesh else 'without'} a mesh",
                cure="fab lab.down first, or another directory in VMOPS_LAB_DIR",
            )
        return there

    def _start(self, layout: Layout, owner: int | None) -> None:
        """Start the supervisor, after the remains of an earlier one."""
        end_processes(self.directory)
        layout.control.unlink(missing_ok=True)
        layout.logs.mkdir(exist_ok=True)
        make_key(layout.private_key)
        if not layout.database.exists():
            call("ovsdb-tool", "create", str(layout.database))
        arguments = [str(self.directory)] if owner is None else [str(self.directory), str(owner)]
        log = layout.logs / "supervisor.log"
        with log.open("ab") as output:
            done = subprocess.run(
                [sys.executable, "-m", SUPERVISOR, *arguments],
                cwd=PACKAGE_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )
        if done.returncode != 0:
            raise WorkFailed(f"the lab did not start: {last_words(log)}")

    def _describe(self, layout: Layout, status: LabStatus) -> None:
        """Write the inventory and known_hosts, when the set of workers has changed."""
        addresses = {worker.name: worker.address for worker in status.workers}
        hosts = known_hosts(layout, addresses)
        before = layout.inventory.read_text() if layout.inventory.exists() else ""
        if before and layout.known_hosts.exists() and layout.known_hosts.read_text() == hosts:
            return
        layout.known_hosts.write_text(hosts)
        layout.inventory.write_text(hosts_toml(layout, addresses, before=before))

    def _remove(self) -> None:
        if self._paths.settings.exists():
            end_processes(self.directory)
            shutil.rmtree(self.directory)

    def _ask(self, verb: str, **values: object) -> LabStatus:
        status = self._exchange(verb, **values)
        if status is None:
            raise WorkFailed(f"no lab runs in {self.directory}", cure="fab lab.up starts one")
        return status

    def _exchange(self, verb: str, **values: object) -> LabStatus | None:
        """Make one request to the supervisor; None when there is none, or it was killed."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(ANSWER_LIMIT_S)
                link.connect(str(self._paths.control))
                with link.makefile("rwb") as stream:
                    stream.write(json.dumps({"do": verb, **values}).encode() + b"\n")
                    stream.flush()
                    line = stream.readline()
        except (FileNotFoundError, ConnectionError):
            return None
        except OSError as error:
            raise WorkFailed(f"the lab in {self.directory} does not answer: {error}") from error
        if not line:
            return None
        answer = json.loads(line)
        if "refused" in answer:
            raise InventoryError(answer["refused"])
        if "error" in answer:
            raise WorkFailed(answer["error"])
        workers = tuple(WorkerStatus(**worker) for worker in answer["workers"])
        return LabStatus(answer["pid"], answer["switch_pid"], workers)
