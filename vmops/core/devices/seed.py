"""What a guest is told at its first boot: cloud-init's NoCloud, three files on a small CD.

They are JSON, which is YAML too, written so that both read the same. Nothing here knows the time:
the same wishes give the same bytes, and so the same instance-id.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

LABEL = "cidata"
META_DATA, USER_DATA, NETWORK = "meta-data", "user-data", "network-config"


class GuestUser(NamedTuple):
    """Somebody who may log in with these public keys, and use sudo. He has no password."""

    name: str
    ssh_keys: tuple[str, ...] = ()


class GuestNic(NamedTuple):
    """How the guest sets up one interface, which it finds by its MAC and calls by this name.

    `addresses` are with their prefix, as `10.0.0.5/24`. `dhcp` is that of IPv4. An interface with
    neither gets its name and no more.
    """

    name: str
    mac: str
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    dns: tuple[str, ...] = ()
    dhcp: bool = False


class Seed(NamedTuple):
    """All that a guest is told. `user_data` is a file of the operator's own, empty for none: a
    cloud-config, or a script, as its first line says."""

    hostname: str
    users: tuple[GuestUser, ...] = ()
    packages: tuple[str, ...] = ()
    user_data: bytes = b""
    nics: tuple[GuestNic, ...] = ()


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
    """The files of the seed by name. Raises ValueError for `user_data` of no known kind."""
    network = _network(seed.nics)
    told = _user_data(seed, "")
    parts = (seed.hostname.encode(), told, network)
    sha = hashlib.sha256()
    for part in parts:
        sha.update(len(part).to_bytes(8, "big") + part)
    instance = f"vmops-{sha.hexdigest()[:24]}"
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
    told: dict[str, Any] = {}
    if seed.users:
        told["users"] = [_user(user) for user in seed.users]
    if seed.packages:
        told |= {"package_update": True, "packages": list(seed.packages)}
    told["bootcmd"] = [["sh", "-c", _saying_when_ready(instance)]]
    return told


def _user(user: GuestUser) -> dict[str, Any]:
    return {
        "name": user.name,
        "lock_passwd": True,
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": list(user.ssh_keys),
    }


_READY = "vmops: cloud-init has ended with"


def _saying_when_ready(instance: str) -> str:
    """A word on the serial port at each boot, when cloud-init has ended, and how.

    At every boot and in the background: a VM that was stopped has a new console's log, and
    cloud-init itself must not wait for its own end.
    """
    word = shlex.quote(f"{_READY} %s in {instance}\\r\\n")
    return (
        "(cloud-init status --wait >/dev/null 2>&1; code=$?;"
        f' for port in /dev/ttyS0 /dev/console; do printf {word} "$code" >"$port" && break; done)'
        " </dev/null >/dev/null 2>&1 &"
    )


def ending(console: bytes, instance: str) -> Literal["ready", "failed"] | None:
    """What the guest has said last on its serial port of cloud-init's end; None for nothing yet.

    Exit code 2 is that of warnings, since cloud-init 23.4. A guest may say what it likes.
    """
    pattern = re.escape(_READY) + r" (\d{1,3}) in " + re.escape(instance) + r"\r?\n"
    codes = re.findall(pattern.encode(), console)
    if not codes:
        return None
    return "ready" if codes[-1] in (b"0", b"2") else "failed"


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


def iso(files: Mapping[str, bytes]) -> bytes:
    """The files as ISO 9660 with Joliet and Rock Ridge, for root alone to read in the guest."""
    from pycdlib import PyCdlib

    with _at_the_epoch():
        image = PyCdlib()
        image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
        for name, content in files.items():
            plain = f"/{name.replace('-', '').upper()}.;1"
            image.add_fp(
                BytesIO(content),
                len(content),
                plain,
                rr_name=name,
                joliet_path=f"/{name}",
                file_mode=0o100400,
            )
        written = BytesIO()
        image.write_fp(written)
        image.close()
    return written.getvalue()


class _Epoch:
    """A clock that stands still, in place of the module `time`."""

    gmtime = localtime = staticmethod(time.gmtime)

    @staticmethod
    def time() -> float:
        return 0.0


_patching = threading.Lock()


@contextmanager
def _at_the_epoch() -> Iterator[None]:
    """pycdlib dates everything by the clock, and has no option for it."""
    from pycdlib import dates, headervd, pycdlib, utils

    modules: tuple[Any, ...] = (dates, headervd, pycdlib, utils)
    with _patching:
        try:
            for module in modules:
                module.time = _Epoch
            yield
        finally:
            for module in modules:
                module.time = time
