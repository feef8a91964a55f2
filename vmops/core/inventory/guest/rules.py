"""What every value of `cloud_init` has to be."""

from __future__ import annotations

from collections.abc import Mapping

from vmops.core.inventory import normal_form as normal
from vmops.core.inventory.rules import Rule, file_here, matching

CLOUD_INIT: Mapping[str, Rule] = {
    "users": Rule(list, "a list of tables, each with a name and ssh_keys", tuple),
    "packages": Rule(
        list,
        "a list of packages' names, as the guest's distribution has them",
        normal.packages,
        schema={"items": {"type": "string", **matching(normal.PACKAGE)}},
    ),
    "user_data": file_here(),
    "hostname": Rule(
        str,
        "a host name, in which {name} stands for the VM's name",
        normal.hostname,
        schema={"pattern": "^[A-Za-z0-9{]", "maxLength": 190},
    ),
}
"""What `cloud_init` of a VM says."""

GUEST_USER: Mapping[str, Rule] = {
    "name": Rule(
        str,
        "1 to 32 small letters, digits, '_' and '-', the first a letter or '_'",
        normal.guest_user,
        schema=matching(normal.GUEST_USER),
    ),
    "ssh_keys": Rule(
        list,
        "a list of public keys, or of paths of files here that hold some",
        normal.ssh_keys,
        schema={"items": {"type": "string", "minLength": 1}},
    ),
}
"""Somebody who may log in."""
