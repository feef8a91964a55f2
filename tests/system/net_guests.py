"""Guests that are namespaces of a worker: a MAC in a VLAN of its bridge, with Linux behind it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from vmops.lab import Lab

from . import dhcp_client, dns_client

NO_CHECKSUMS = (
    'socket my $any, 2, 2, 0 or die; my $off = pack "II", 0x17, 0;'
    ' ioctl $any, 0x8946, pack "a16P", "eth0", $off or die $!'
)
"""What is sent goes through a userspace switch, which completes no checksums."""


@dataclass
class Guest:
    """One of them. `port` is its end of a pair, on the worker's bridge."""

    lab: Lab
    worker: str
    name: str
    mac: str
    vlan_id: int

    @property
    def port(self) -> str:
        return f"g-{self.name}"

    def plug(self) -> None:
        self.sh(
            f"ip netns add {self.name}",
            f"ip link add {self.port} type veth peer name eth0 netns {self.name}",
            f"ip -n {self.name} link set eth0 address {self.mac}",
            f"ip link set {self.port} up",
            f"ovs-vsctl --timeout=10 -- --if-exists del-port {self.port}"
            f" -- add-port br-int {self.port} tag={self.vlan_id}",
            f"ip -n {self.name} link set eth0 up",
            f"ip -n {self.name} link set lo up",
        )
        self.inside("perl", "-e", NO_CHECKSUMS)

    def unplug(self) -> None:
        self.sh(
            f"ovs-vsctl --timeout=10 --if-exists del-port {self.port}",
            f"ip link del {self.port}",
            f"ip netns del {self.name}",
        )

    def sh(self, *lines: str) -> None:
        self.lab.run(self.worker, ["sh", "-ec", "\n".join(lines)])

    def inside(self, *argv: str, check: bool = True, timeout: float = 30) -> str:
        """What a command prints in the guest."""
        words = ["nsenter", f"--net=/run/netns/{self.name}", *argv]
        return self.lab.run(self.worker, words, check=check, timeout=timeout).stdout.decode()

    def lease(self, *, seconds: float = 8) -> dict[str, Any] | None:
        """What DHCP gives it; None where nobody answers in time."""
        said = self._python(dhcp_client, "eth0", str(seconds))
        found: dict[str, Any] | None = json.loads(said)
        return found

    def _python(self, program: ModuleType, *words: str) -> str:
        """A module of ours by the worker's Python, which cannot see our own."""
        text = Path(str(program.__file__)).read_text()
        return self.inside("python3", "-c", text, *words, timeout=60)

    def configure(self, address: str, gateway: str) -> None:
        """Take a static address, and no other."""
        for words in (
            ("addr", "flush", "dev", "eth0"),
            ("addr", "add", address, "dev", "eth0"),
            ("route", "replace", "default", "via", gateway),
        ):
            self.inside("ip", *words)

    def reaches(self, address: str, *, tries: int = 3) -> bool:
        """Whether one of so many pings is answered."""
        words = ("ping", "-n", "-q", "-i", "0.2", "-W", "1", "-c", str(tries), address)
        return f"{tries} packets transmitted, 0 received" not in self.inside(*words, check=False)

    def looks_up(self, name: str, server: str) -> list[str]:
        """The addresses that a name server has for a name."""
        said = self._python(dns_client, name, server)
        found: list[str] = json.loads(said)
        return found
