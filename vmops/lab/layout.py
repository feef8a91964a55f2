"""What a lab is: its directory, its addresses, its port, and the name of every file in it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from vmops.errors import InventoryError, WorkFailed
from vmops.nameless import path_in

DEFAULT_DIRECTORY = "/run/vmops-lab"
MAX_WORKERS = 250
SWITCH = "switch"
INTERNET = "internet"
OUTSIDE = "203.0.113"
"""TEST-NET-3, which is nobody's: the lab's stand-in for the internet."""

UNDERLAY = "198.51.100"
"""TEST-NET-2: between the workers of a lab with OVN, or for a mesh."""

OUTSIDE_HOST = f"{OUTSIDE}.254"
UPLINK = "uplink"
PROVIDER = "provider"
"""A second way to the lab's internet, without an address: for OVN's gateways."""

OVN_OUTSIDE = f"{OUTSIDE}.253"
"""The address there of OVN's router."""

MAX_SOCKET_PATH = 107


def default_directory() -> Path:
    """The directory that VMOPS_LAB_DIR names, else /run/vmops-lab. Raises InventoryError."""
    return (path_in("VMOPS_LAB_DIR") or Path(DEFAULT_DIRECTORY)).absolute()


def worker_name(number: int) -> str:
    """The name of the lab's worker of that number, from 1."""
    return f"worker{number}"


def outside_address(worker: str) -> str:
    """A worker's address on the lab's internet."""
    return f"{OUTSIDE}.{worker.removeprefix('worker')}"


def tunnel_address(worker: str) -> str:
    """A worker's address for tunnels."""
    return f"{UNDERLAY}.{worker.removeprefix('worker')}"


def _is_octet(text: str) -> bool:
    return text.isdecimal() and str(int(text)) == text and int(text) < 256


@dataclass(frozen=True, slots=True)
class Layout:
    """The settings that a lab keeps for its life. `network` is the first three octets. With `ovn`
    its workers have OVN's controllers, and the first of them the central. With `mesh` the switch
    carries none of their VLANs: only addresses for tunnels."""

    directory: Path
    network: str = "127.0.10"
    port: int = 2222
    sshd_options: tuple[str, ...] = ()
    ovn: bool = False
    mesh: bool = False

    def __post_init__(self) -> None:
        octets = self.network.split(".")
        if len(octets) != 3 or octets[0] != "127" or not all(map(_is_octet, octets)):
            raise InventoryError(
                f"the lab's network is {self.network!r}; it must be three octets like 127.0.10"
            )
        if not 1 <= self.port <= 65535:
            raise InventoryError(f"the lab's port is {self.port}; it must be 1 to 65535")
        if len(os.fsencode(self.control)) > MAX_SOCKET_PATH:
            raise InventoryError(
                f"the lab's directory has too long a name for a socket in it: {self.directory}"
            )

    def address(self, number: int) -> str:
        """Where the worker of that number is reached on this machine."""
        return f"{self.network}.{number}"

    @property
    def has_underlay(self) -> bool:
        """True where workers have an address for tunnels."""
        return self.ovn or self.mesh

    @property
    def settings(self) -> Path:
        """These settings as JSON. Its presence marks a directory as a lab's."""
        return self.directory / "lab.json"

    @property
    def control(self) -> Path:
        """The UNIX socket on which the supervisor listens."""
        return self.directory / "control"

    @property
    def logs(self) -> Path:
        """The supervisor's log, and for each worker a directory, which is its /var/log."""
        return self.directory / "log"

    @property
    def private_key(self) -> Path:
        """The key that opens every worker, for the user ubuntu."""
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The workers' host keys."""
        return self.directory / "known_hosts"

    @property
    def inventory(self) -> Path:
        """The lab's hosts.toml."""
        return self.directory / "hosts.toml"

    @property
    def database(self) -> Path:
        """An empty Open vSwitch database, copied into each worker."""
        return self.directory / "conf.db"

    def host_key(self, worker: str) -> Path:
        """The private host key of one worker; it outlives a restart of the worker."""
        return self.directory / f"{worker}_host_key"

    def save(self) -> None:
        """Write the settings down."""
        values = asdict(self)
        del values["directory"]
        self.settings.write_text(json.dumps(values) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Layout | None:
        """The settings of the lab in that directory; None when there is no lab.

        Raises WorkFailed when there is one and it cannot be read.
        """
        path = cls(directory).settings
        try:
            values = json.loads(path.read_text())
            return cls(directory, **{**values, "sshd_options": tuple(values["sshd_options"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorkFailed(
                f"cannot read {path}: {error}", cure="fab lab.down removes it"
            ) from error
