"""What a guest is told at its first boot: cloud-init's NoCloud, three files on a small CD.

They are JSON, which is YAML too, written so that both read the same. Nothing here knows the time:
the same wishes give the same bytes, and so the same instance-id.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from vmops.core.devices.seed.ready import saying
from vmops.core.inventory.guest.told import GuestNic, GuestUser, Seed

META_DATA, USER_DATA, NETWORK = "meta-data", "user-data", "network-config"


_KINDS: Mapping[bytes, str] = MappingProxyType(
    {
        b"#cloud-config-archive": "cloud-config-archive",
        b"#cloud-config": "cloud-config",
        b"#cloud-boothook": "cloud-boothook",
        b"#include": "x-include-url",
        b"## template: jinja": "jinja2",
        b"#part-handler": "part-handler",
        b"#!": "x-shellscript",
    }
)
"""How a file of user data begins, and what cloud-init calls it. The longer of two comes first."""


def kind_of(user_data: bytes) -> str:
    """What cloud-init takes the file for. Raises ValueError where it would not know."""
    for beginning, kind in _KINDS.items():
        if user_data.startswith(beginning):
            return kind
    known = ", ".join(beginning.decode() for beginning in _KINDS)
    raise ValueError(f"its first line is none that cloud-init knows: {known}")


def documents(seed: Seed) -> Mapping[str, bytes]:
    """The files of the seed by name. Raises ValueError for `user_data` of no known kind.

    The instance-id is made of what is asked for, and not of how it is said here: a newer vmops must
    not make another instance of every guest.
    """
    network = _network(seed.nics)
    # A key that came later is left out where it says nothing: its coming is no other wish.
    nics = [nic if nic.mtu is not None else nic[:-1] for nic in seed.nics]
    asked = json.dumps({**seed._asdict(), "user_data": seed.user_data.hex(), "nics": nics})
    instance = f"vmops-{hashlib.sha256(asked.encode()).hexdigest()[:24]}"
    meta = {"instance-id": instance, "local-hostname": seed.hostname}
    files = {META_DATA: _yaml(meta), USER_DATA: _user_data(seed, instance)}
    return MappingProxyType(files | ({NETWORK: network} if network else {}))


def instance_of(files: Mapping[str, bytes]) -> str:
    """The instance-id of a seed's documents: another one makes cloud-init begin anew."""
    return str(json.loads(files[META_DATA])["instance-id"])


def _network(nics: tuple[GuestNic, ...]) -> bytes:
    """Version 2, without the key `network` around it, which NoCloud does not want.

    Nothing where there is nothing to say of any interface: cloud-init then asks for an address on
    the first one by itself.
    """
    if not any(nic.addresses or nic.dhcp for nic in nics):
        return b""
    return _yaml({"version": 2, "ethernets": {nic.name: _ethernet(nic) for nic in nics}})


def _ethernet(nic: GuestNic) -> dict[str, Any]:
    # Some versions take a match by MAC only together with set-name.
    told: dict[str, Any] = {"match": {"macaddress": nic.mac.lower()}, "set-name": nic.name}
    told["dhcp4"] = nic.dhcp
    if nic.addresses:
        told["addresses"] = list(nic.addresses)
    if ":" in nic.gateway:
        # cloud-init 22.4 makes ::/64 of a route to ::/0, and knows no "default". Newer ones and
        # netplan only call this word old.
        told["gateway6"] = nic.gateway
    elif nic.gateway:
        told["routes"] = [{"to": "0.0.0.0/0", "via": nic.gateway}]
    if nic.dns:
        told["nameservers"] = {"addresses": list(nic.dns)}
    if nic.mtu is not None:
        told["mtu"] = nic.mtu
    if not (nic.addresses or nic.dhcp):
        told["optional"] = True  # or the boot waits for it to get an address
    return told


def _user_data(seed: Seed, instance: str) -> bytes:
    ours = b"#cloud-config\n" + _yaml(_cloud_config(seed, instance))
    if not seed.user_data:
        return ours
    kind = kind_of(seed.user_data)
    # The operator's come first: what is merged to them adds to lists and replaces nothing.
    return _multipart((kind, seed.user_data), ("cloud-config", ours))


def _cloud_config(seed: Seed, instance: str) -> dict[str, Any]:
    # Else nothing in the guest resolves its own name, and sudo says so each time.
    told: dict[str, Any] = {"manage_etc_hosts": "localhost"}
    if seed.users:
        told["users"] = [_user(user) for user in seed.users]
    if seed.packages:
        told |= {"package_update": True, "packages": list(seed.packages)}
    told["bootcmd"] = [["sh", "-c", saying(instance)]]
    return told


def _user(user: GuestUser) -> dict[str, Any]:
    return {
        "name": user.name,
        "lock_passwd": True,
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": list(user.ssh_keys),
    }


def _multipart(*parts: tuple[str, bytes]) -> bytes:
    from email.encoders import encode_base64
    from email.mime.base import MIMEBase
    from email.mime.multipart import MIMEMultipart

    boundary = hashlib.sha256(b"".join(body for _, body in parts)).hexdigest()[:40]
    whole = MIMEMultipart(boundary=boundary)
    for number, (kind, body) in enumerate(parts):
        part = MIMEBase("text", kind)
        part.set_payload(body)
        encode_base64(part)
        part.add_header("Content-Disposition", "attachment", filename=f"part-{number:03}")
        if kind == "cloud-config":
            part.add_header("X-Merge-Type", "list(append)+dict(no_replace,recurse_list)+str()")
        whole.attach(part)
    return whole.as_bytes()


_NOT_PLAIN = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def _yaml(value: Any) -> bytes:
    """JSON that YAML reads the same: what it has no characters for, and its line ends, escaped.

    Beyond the 16 bits that an escape of JSON has, a character stands as it is: YAML does not know
    pairs of surrogates.
    """
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return (_NOT_PLAIN.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n").encode()
