"""`cloud_init` of a VM: what its guest is told at the first boot, as hosts.toml writes it.

Files are named here, not read: that is ops/vm/seeds.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from vmops.core.inventory.complaints import Fault, show
from vmops.core.inventory.guest import rules
from vmops.core.inventory.guest.keys import is_key
from vmops.core.inventory.tables import REQUIRED_OF_USER, Values, as_table, read_strictly

NAME = "{name}"
"""Stands for the VM's name in a host name."""


class Login(NamedTuple):
    """Somebody who may log in to the guest: with public keys, or files that hold them."""

    name: str
    ssh_keys: tuple[str, ...] = ()


class CloudInit(NamedTuple):
    """What the guest is told beside its addresses. `user_data` is the path of a file here."""

    users: tuple[Login, ...] = ()
    packages: tuple[str, ...] = ()
    user_data: str | None = None
    hostname: str = NAME

    def host_name(self, vm: str) -> str:
        """The name that the guest of this VM gets."""
        return self.hostname.replace(NAME, plain(vm))

    def rooted(self, path_from: Callable[[str], str]) -> CloudInit:
        """The same with the paths of its files as `path_from` has them."""
        users = tuple(
            login._replace(ssh_keys=tuple(k if is_key(k) else path_from(k) for k in login.ssh_keys))
            for login in self.users
        )
        data = None if self.user_data is None else path_from(self.user_data)
        return self._replace(users=users, user_data=data)

    def to_dict(self) -> dict[str, Any]:
        """What is set, as hosts.toml writes it."""
        users = [{"name": u.name, "ssh_keys": list(u.ssh_keys)} for u in self.users]
        values = {
            "users": users,
            "packages": list(self.packages),
            "user_data": self.user_data,
            "hostname": self.hostname if self.hostname != NAME else None,
        }
        return {key: value for key, value in values.items() if value}


def plain(vm: str) -> str:
    """A VM's name as a host can have it: without an underscore."""
    return vm.replace("_", "-").strip(".-")


def read_cloud_init(raw: object) -> tuple[CloudInit | None, list[Fault]]:
    """The value of `cloud_init`, and all that is wrong with it; None where something is."""
    if isinstance(raw, CloudInit):
        raw = {**raw._asdict(), "users": [_as_dict(login) for login in raw.users]}
        raw = {key: value for key, value in raw.items() if value is not None}
    values, faults = read_strictly(raw, rules.CLOUD_INIT)
    logins = []
    for index, item in enumerate(values.pop("users", ())):
        table, found = as_table(item)
        login: Values = {}
        if not found:
            login, found = read_strictly(table, rules.GUEST_USER, REQUIRED_OF_USER)
        faults += [fault.below("users", index) for fault in found]
        if not found:
            logins.append(Login(**login))
    names = [login.name for login in logins]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        faults.append(Fault(("users",), f"{show(name)}: must be there once"))
    return (None if faults else CloudInit(users=tuple(logins), **values)), faults


def _as_dict(login: object) -> object:
    return login._asdict() if isinstance(login, Login) else login
