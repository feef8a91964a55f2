"""An operator whose lab has OVN, and guests: namespaces behind the TAPs that vmops has plugged."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vmops.errors import WorkFailed
from vmops.lab import Lab
from vmops.lab.tools import require_ovn

from . import dhcp_client, dns_client, ovn_guest
from .conftest import PORT, free_network, require_a_lab
from .operator import Operator


def require_a_lab_with_ovn() -> None:
    """Skip where no lab can have OVN; in CI that is a failure."""
    require_a_lab()
    try:
        require_ovn()
    except WorkFailed as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@contextmanager
def lab_with_ovn(directory: Path, workers: int = 2) -> Iterator[Lab]:
    """A lab whose workers have OVN; what makes them follow its central has not been done."""
    require_a_lab_with_ovn()
    lab = Lab(directory)
    lab.up(workers, network=free_network(), port=PORT, owner=os.getpid(), ovn=True)
    try:
        yield lab
    finally:
        lab.down()


class Site(Operator):
    """An operator of a lab with OVN."""

    def write(self, text: str = "", *, ovn: str | None = None) -> None:
        """Have these networks and VMs in hosts.toml; with `ovn`, that is what its [ovn] says."""
        head = self.lab.inventory.read_text().partition("\n[vms.")[0]
        if ovn is not None:
            before, _, after = head.partition("[ovn]\n")
            head = f"{before}[ovn]\n{ovn}\n[workers.{after.partition('[workers.')[2]}"
        self.hosts_toml.write_text(f"{head}\n{text}")

    def nbctl(self, *words: str) -> str:
        return self.on("worker1", "ovn-nbctl", "--timeout=10", *words).strip()

    def status_of(self, vm: str) -> Any:
        (found,) = self.ok("status", "--vm", vm, "--format", "json").json
        return found

    def heard(self, place: str, address: str, port: int) -> str:
        """What a server says to who connects from a worker or from the switch; or nothing."""
        words = ("python3", "-c", _CLIENT, address, str(port))
        return self.lab.run(place, words, check=False).stdout.decode()

    def networks(self) -> dict[str, Any]:
        return {one["network"]: one for one in self.ok("net.status", "--format", "json").json}


_SERVER = """
import select, socket, sys
there = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("ready", flush=True)
while sys.stdin not in select.select([sys.stdin, there], [], [])[0]:
    link, _ = there.accept()
    link.sendall(sys.argv[2].encode())
    link.close()
"""
_CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 3) as link:
    print(link.makefile().read(), end="")
"""


class Guest:
    """A namespace that is the guest of a VM whose TAP is plugged."""

    def __init__(self, site: Site, vm: str) -> None:
        found = site.status_of(vm)
        nic = found["interfaces"][0]
        self.site, self.vm, self.worker = site, vm, found["worker"]
        self.mac = nic["mac"]
        self.run("ip", "netns", "add", vm)
        text = Path(str(ovn_guest.__file__)).read_text()
        words = ("python3", "-c", text, nic["tap"], vm, self.mac)
        self.process = subprocess.Popen(
            site.lab.enter(self.worker, words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return self.site.lab.run(self.worker, argv, check=check, timeout=60)

    def inside(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return self.run("nsenter", f"--net=/run/netns/{self.vm}", *argv, check=check)

    def lease(self, *, seconds: float = 20) -> dict[str, Any] | None:
        text = Path(str(dhcp_client.__file__)).read_text()
        said = self.inside("python3", "-c", text, "eth0", str(seconds)).stdout
        found: dict[str, Any] | None = json.loads(said)
        return found

    def configure(self, address: str, gateway: str = "") -> None:
        self.inside("ip", "addr", "replace", f"{address}/24", "dev", "eth0")
        if gateway:
            self.inside("ip", "route", "replace", "default", "via", gateway)

    def pings(self, address: str, *options: str) -> bool:
        """True where one of three is answered: the first into a tunnel is lost."""
        words = ("ping", "-n", "-q", "-c", "3", "-i", "0.3", "-W", "1", *options, address)
        return self.inside(*words, check=False).returncode == 0

    def asks(self, server: str, name: str) -> list[str] | None:
        """The addresses of a name that a server has; None where nobody answers."""
        text = Path(str(dns_client.__file__)).read_text()
        said = self.inside("python3", "-c", text, name, server, check=False)
        found: list[str] | None = json.loads(said.stdout) if said.returncode == 0 else None
        return found

    @contextmanager
    def serving(self, port: int, word: str) -> Iterator[None]:
        """A server there which says this word to whoever connects."""
        enter = ("nsenter", f"--net=/run/netns/{self.vm}")
        words = (*enter, "python3", "-c", _SERVER, str(port), word)
        process = subprocess.Popen(
            self.site.lab.enter(self.worker, words), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.communicate(timeout=30)

    def leave(self) -> None:
        self.process.communicate(timeout=30)
        self.run("ip", "netns", "del", self.vm)


@contextmanager
def guests_of(site: Site, vms: Sequence[str]) -> Iterator[dict[str, Guest]]:
    """These VMs plugged, and a guest behind the first interface of each."""
    site.ok("plug", "--vm", ",".join(vms))
    found: dict[str, Guest] = {}
    try:
        for vm in vms:
            found[vm] = Guest(site, vm)
        yield found
    finally:
        for guest in found.values():
            guest.leave()
