"""What guests are told at their first boot, with the files read that hosts.toml names for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from stat import S_ISREG
from typing import TYPE_CHECKING

from vmops.core.inventory.complaints import Fault, InvalidValue, show
from vmops.core.inventory.guest.cloud_init import CloudInit
from vmops.core.inventory.guest.keys import is_key, key
from vmops.core.inventory.model import VM
from vmops.errors import InventoryError
from vmops.nameless import expanded

if TYPE_CHECKING:
    from vmops.core.inventory.guest.told import GuestNic

MOST_BYTES = 1 << 20
"""Of a file that a guest is told; much less is usual."""

_PRIVATE = b"PRIVATE KEY-----"


def told(vms: Sequence[VM], *, source: str = "hosts.toml") -> tuple[VM, ...]:
    """The same VMs, each with its seed. `source` is what messages call the inventory.

    Raises InventoryError with a complaint for each file that cannot be read or is not what it has
    to be.
    """
    found = [_told(vm) if vm.is_told and vm.seed is None else vm for vm in vms]
    faults = [fault for one in found if isinstance(one, list) for fault in one]
    if faults:
        raise InvalidValue(source, faults)
    return tuple(one for one in found if isinstance(one, VM))


def told_if_readable(vms: Sequence[VM]) -> tuple[tuple[VM, ...], tuple[InventoryError, ...]]:
    """The same for those whose files can be read; the others as they are, and the complaints."""
    found: list[VM] = []
    errors: list[InventoryError] = []
    for vm in vms:
        try:
            found += told([vm])
        except InventoryError as error:
            found.append(vm)
            errors.append(error)
    return tuple(found), tuple(errors)


def _told(vm: VM) -> VM | list[Fault]:
    from vmops.core.devices.seed.documents import kind_of
    from vmops.core.inventory.guest.told import GuestUser, Seed

    wanted = vm.cloud_init or CloudInit()
    faults: list[Fault] = []
    users = []
    for place, login in enumerate(wanted.users):
        keys: list[str] = []
        for index, item in enumerate(login.ssh_keys):
            try:
                keys += [item] if is_key(item) else _keys_in(item)
            except ValueError as error:
                faults.append(Fault(("users", place, "ssh_keys", index), f"{show(item)}: {error}"))
        users.append(GuestUser(login.name, tuple(dict.fromkeys(keys))))
    data = b""
    if wanted.user_data is not None:
        try:
            data = _content(wanted.user_data)
            kind_of(data)
        except ValueError as error:
            faults.append(Fault(("user_data",), f"{show(wanted.user_data)}: {error}"))
    if faults:
        return [fault.below("vms", vm.name, "cloud_init") for fault in faults]
    seed = Seed(wanted.host_name(vm.name), tuple(users), wanted.packages, data, _nics(vm))
    return vm.with_seed(seed)


def _nics(vm: VM) -> tuple[GuestNic, ...]:
    """Those that are in the machine. One whose name Linux cannot give it keeps its own."""
    from vmops.core.inventory.guest.addresses import MAX_NAME
    from vmops.core.inventory.guest.told import GuestNic

    return tuple(
        GuestNic(
            nic.name,
            nic.mac,
            (nic.interface.address,) if nic.interface.address else (),
            nic.interface.gateway or "",
            nic.interface.dns,
            nic.interface.dhcp,
            nic.interface.mtu,
        )
        for nic in vm.connected
        if len(nic.name) <= MAX_NAME
    )


def _keys_in(path: str) -> Iterator[str]:
    content = _content(path)
    if _PRIVATE in content:
        raise ValueError(f"it is a private key; its public one is in {path}.pub")
    lines = [line.strip() for line in content.decode(errors="replace").split("\n")]
    found = [key(line) for line in lines if line and not line.startswith("#")]
    if not found or None in found:
        raise ValueError("it holds something else than public keys, one a line")
    return (one for one in found if one is not None)


def _content(path: str) -> bytes:
    try:
        there = expanded(path)
        # A pipe would hold everybody up who only looks.
        if not S_ISREG(there.stat().st_mode):
            raise ValueError("it is no plain file")
        with there.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise ValueError(f"it holds more than {MOST_BYTES >> 20} MiB")
    return content
