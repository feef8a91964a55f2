"""Guests over the network from the command line: ssh, ssh-config, ping."""

from __future__ import annotations

import os
import select
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from vmops.errors import InventoryError, WorkFailed
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context, is_dry
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import give, give_json, say
from vmops.tasks.frame.selection import grouped, host_of, inventory, inventory_path, route_to
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import show_dry, where_they_are
from vmops.tasks.proof.places import both, one_of_two, place
from vmops.tasks.proof.telling import telling, told_to_ssh
from vmops.tasks.typed.rest import rest

if TYPE_CHECKING:
    from ipaddress import IPv4Interface

    from vmops.core.inventory.model import VM, Nic
    from vmops.core.tools.proof.door import Door, Echo
    from vmops.ops.route import Group

_PORT = Option("The guest's port for SSH (default 22).", options.between(1, 65535))
_ADDRESS = Option("The guest's address with its prefix, where hosts.toml has none: 192.0.2.7/24.")
_CHUNK = 1 << 16


@task(
    {
        "vm": Option("VM, or VM and interface, such as web1:eth0.", names="ends", required=True),
        "user": Option(
            "The user in the guest; default: what ssh decides.",
            not_with={"stdio": "is for a login, and --stdio is the way alone"},
        ),
        "address": _ADDRESS,
        "port": _PORT,
        "stdio": Option("Be the way alone: standard input and output lead to that port."),
    }
)
def ssh(
    c: Context,
    vm: str | None = None,
    user: str | None = None,
    address: str | None = None,
    port: int = 22,
    stdio: bool = False,
) -> None:
    """
    Log in to a VM's guest by SSH, through a door into its network on its own worker.

    The door is a port of the switch in a namespace of its own; it lasts as long as the session.
    Words behind -- are ssh's: options, or a command. Example: fab ssh --vm web1 -- uptime
    """
    there, nic = _place(c, vm, "ssh")
    target = _address(c, there, nic, address)
    if stdio:
        with told_to_ssh():
            _lead(c, there, nic, target, port)
        return
    way = shlex.join(_way(c, vm or "", address, port))
    login = [] if user is None else ["-l", user]
    words = ["ssh", *_ssh_options(there, way), *login, str(target.ip), *rest()]
    if is_dry(c):
        give(f"# here:\n{shlex.join(words)}")
        _lead(c, there, nic, target, port)
        return
    with telling() as told:
        try:
            ended = subprocess.run(words, env=told.environment(), check=False)
        except FileNotFoundError as missing:
            raise WorkFailed("there is no ssh on this machine", cure="install OpenSSH") from missing
        error = told.error() if ended.returncode else None
    if error is not None:
        raise error
    if ended.returncode:
        raise Exit(code=ended.returncode)


ssh.takes_rest = True


@task({"vm": options.VMS, "user": Option("The user in the guests; default: what ssh decides.")})
def ssh_config(c: Context, vm: str | None = None, user: str | None = None) -> None:
    """
    Print a file for ssh, scp and rsync with which `ssh web1` leads to a VM's guest.

    Example: fab ssh-config >~/.ssh/vmops.conf, and Include vmops.conf in ~/.ssh/config
    """
    listed = inventory(c)
    chosen = listed.select(vm) if vm else tuple(listed.vms.values())
    found, without = [], []
    for each in chosen:
        known = _known(c, each)
        if known is None:
            without.append(each.name)
            continue
        way = shlex.join(_way(c, each.name, None, 22)).replace("%", "%%")
        lines = [f"Host {each.name}", f"  HostName {known.ip}", f"  HostKeyAlias {each.name}"]
        lines += [f"  User {user}"] if user else []
        found.append("\n".join([*lines, f"  ProxyCommand {way}"]))
    if found:
        give("\n\n".join(found))
    if without:
        say(f"without an address in hosts.toml: {', '.join(without)}")
    if not found:
        raise InventoryError(
            "no VM has an address", cure="give its interface a network with a subnet, or an address"
        )


@task(
    {
        "vm": Option(
            "VM and interface from whose place is asked, such as web1:eth0.",
            names="ends",
            required=True,
        ),
        "to": Option(
            "VM and interface that is to answer; the interface may be left out.",
            names="ends",
            required=True,
        ),
        "from_": Option("The same as --vm: what trace calls it.", names="ends"),
        "address": _ADDRESS,
        "count": Option("How many echoes (default 3).", options.between(1, 1000)),
        "format": options.FORMAT,
    }
)
def ping(
    c: Context,
    vm: str | None = None,
    to: str | None = None,
    from_: str | None = None,
    address: str | None = None,
    count: int = 3,
    format: str = "text",
) -> None:
    """
    Ping one VM's guest from the place of another: its network, on its worker.

    It is asked from a door beside the VM, which needs nothing of that one's guest. Exit code 1 when
    no echo comes. Example: fab ping --vm web1 --to web2
    """
    from vmops.core.plan.proof.doors import door_to
    from vmops.ops.proof.door import ping as echoes

    vm = one_of_two("ping", {"--vm": vm, "--from": from_})
    if vm is None or to is None:
        raise InventoryError("ping: from whom to whom?", cure="fab ping --vm web1 --to web2")
    (here, nic), (other, far) = both(c, vm, to)
    target = _address(c, other, far, address)
    mine = _own(c, here, nic) or target
    door = door_to(inventory(c), nic, mine.network)
    groups = where_they_are(c, grouped(c, inventory(c), [here]))
    wanted = (str(target.ip), count)
    with _seated(c, groups, nic, door) as door:
        if show_dry(c, groups, lambda group: list(echoes(group.route, here, door, wanted))):
            return
        (group,) = groups
        found: list[Echo] = []
        for echo in echoes(group.route, here, door, wanted):
            found.append(echo)
            if format != options.JSON:
                said = "no answer" if echo.ms is None else f"{echo.ms:.2f} ms"
                give(f"{other.name} ({target.ip}) from {group.route.worker.name}: {said}")
    answered = [echo.ms for echo in found if echo.ms is not None]
    error = None
    if not answered:
        error = WorkFailed(
            f"no echo of {len(found)} came from {other.name} ({target.ip})",
            worker=group.route.worker.name,
            cure=f"fab trace --from {here.name} --to {other.name}",
        )
    if format == options.JSON:
        give_json(_as_dict(here, other, str(target.ip), found, error))
    if error is not None:
        raise error


def _as_dict(
    here: VM, other: VM, address: str, found: list[Echo], error: WorkFailed | None
) -> dict[str, Any]:
    answered = [echo.ms for echo in found if echo.ms is not None]
    return {
        "from": here.name,
        "to": other.name,
        "address": address,
        "sent": len(found),
        "answered": len(answered),
        "ms": answered,
        "error": None if error is None else str(error),
    }


def _place(c: Context, vm: str | None, name: str) -> tuple[VM, Nic]:
    if vm is None:
        raise InventoryError(f"{name}: which VM?", cure=f"fab {name} --vm NAME")
    there, nic = place(c, vm)
    if ":" not in vm:
        known = [each for each in there.connected if _own(c, there, each) is not None]
        nic = known[0] if known else nic
    return there, nic


def _own(c: Context, vm: VM, nic: Nic) -> IPv4Interface | None:
    from vmops.core.plan.proof.doors import address_of

    return address_of(inventory(c), vm, nic)


def _known(c: Context, vm: VM) -> IPv4Interface | None:
    """The first address of a VM that can be come to."""
    found = (_own(c, vm, nic) for nic in vm.connected if nic.vlan_id is not None or nic.port)
    return next((each for each in found if each is not None), None)


def _address(c: Context, vm: VM, nic: Nic, given: str | None) -> IPv4Interface:
    """The guest's address: the one that is given, or hosts.toml's. Raises InventoryError."""
    if given is not None:
        from ipaddress import IPv4Interface

        try:
            found = IPv4Interface(given)
        except ValueError as error:
            raise InventoryError(f"--address {given}: {error}") from error
        if "/" not in given:
            raise InventoryError(f"--address {given}: must have its prefix, as 192.0.2.7/24")
        return found
    known = _own(c, vm, nic)
    if known is None:
        raise InventoryError(
            f"{inventory(c).source}: {vm.name}:{nic.name} has no address",
            cure="give it a network with a subnet, or an address; or say --address 192.0.2.7/24",
        )
    return known


def _door(c: Context, nic: Nic, target: IPv4Interface) -> Door:
    from vmops.core.plan.proof.doors import door_to

    return door_to(inventory(c), nic, target.network)


def _lead(c: Context, vm: VM, nic: Nic, target: IPv4Interface, port: int) -> None:
    """Standard input and output through the door."""
    from vmops.ops.proof.door import connect

    groups = where_they_are(c, grouped(c, inventory(c), [vm]))
    wanted = (str(target.ip), port)
    with _seated(c, groups, nic, _door(c, nic, target)) as door:
        if show_dry(c, groups, lambda group: connect(group.route, vm, door, wanted)):
            return
        (group,) = groups
        called = connect(group.route, vm, door, wanted)
        with closing(called.socket):
            _copy(called.socket)


@contextmanager
def _seated(c: Context, groups: Sequence[Group], nic: Nic, door: Door) -> Iterator[Door]:
    """The door at the one group's worker; in a network of OVN with a port of its own meanwhile."""
    northbound = inventory(c).northbound
    if not nic.port or northbound is None:
        yield door
        return
    from vmops.ops.proof.door import seated

    (group,) = groups
    at, network = group.route.worker, nic.interface.network or ""
    central = group._replace(route=route_to(c, northbound), vms=())
    taken: list[Door] = []
    with ExitStack() as held:

        def take(one: Group) -> None:
            taken.append(held.enter_context(seated(one.route, at, network, door)))

        if not show_dry(c, [central], take):
            take(central)
        yield taken[0]


def _copy(line: socket.socket) -> None:
    """Both ways until the guest's end is closed, or ours."""
    reading = True
    while True:
        watched: list[Any] = [line, 0] if reading else [line]
        ready, _, _ = select.select(watched, [], [])
        if 0 in ready:
            data = os.read(0, _CHUNK)
            reading = bool(data)
            if not data:
                return
            line.sendall(data)
        if line in ready:
            data = line.recv(_CHUNK)
            if not data:
                return
            while data:
                data = data[os.write(1, data) :]


def _way(c: Context, vm: str, address: str | None, port: int) -> list[str]:
    """The command that leads to a guest's port, from wherever it is called."""
    hosts = Path(inventory_path(c)).absolute()
    installed = Path(sys.executable).with_name("vmops")
    program = [str(installed)] if installed.exists() else [sys.executable, "-m", "vmops"]
    at = ["-H", host_of(c)] if host_of(c) else []
    words = ["env", f"VMOPS_HOSTS={hosts}", *program, *at, "ssh", "--stdio", "--vm", vm]
    words += [] if address is None else ["--address", address]
    return words if port == 22 else [*words, "--port", str(port)]


def _ssh_options(vm: VM, way: str) -> list[str]:
    escaped = way.replace("%", "%%")
    return ["-o", f"ProxyCommand={escaped}", "-o", f"HostKeyAlias={vm.name}"]
