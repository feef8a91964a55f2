"""What guests are told at their first boot: cloud-init.show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.options import JSON
from vmops.tasks.frame.output import give, give_json, say
from vmops.tasks.frame.selection import inventory
from vmops.tasks.frame.task import task

if TYPE_CHECKING:
    from vmops.core.inventory.model import VM


@task({"vm": options.VM, "format": options.FORMAT})
def show(c: Context, vm: str | None = None, format: str = "text") -> None:
    """
    Print what a VM's guest is told at its first boot: meta-data, user-data, network-config.

    These are the files of cloud-init on its seed, secrets among them. No worker is contacted.
    Example: fab cloud-init.show --vm web1
    """
    from vmops.ops.vm.seeds import told

    if not vm:
        cure = "fab cloud-init.show --vm NAME"
        raise InventoryError("cloud-init.show: which VM?", cure=cure)
    listed = inventory(c)
    chosen = listed.select(vm)
    silent = [each.name for each in chosen if not each.is_told]
    if len(silent) == len(chosen):
        raise InventoryError(
            f"{', '.join(silent)}: the guest is told nothing: there is no cloud_init, and no"
            f" address, in {listed.source}",
            cure="docs/first-boot.md has what can be said",
        )
    for name in silent:
        say(one_line(f"{name}: the guest is told nothing"))
    ready = told([each for each in chosen if each.is_told], source=listed.source)
    if format == JSON:
        give_json([_as_dict(each) for each in ready])
    else:
        give("\n".join(_in_words(each) for each in ready))


def _files(vm: VM) -> tuple[str, dict[str, bytes]]:
    from vmops.core.devices.seed import documents
    from vmops.core.inventory.guest.told import Seed

    assert isinstance(vm.seed, Seed), "it was just read"
    files = documents.documents(vm.seed)
    return documents.instance_of(files), dict(files)


def _as_dict(vm: VM) -> dict[str, Any]:
    instance, files = _files(vm)
    texts = {name: content.decode(errors="replace") for name, content in files.items()}
    return {
        "vm": vm.name,
        "instance_id": instance,
        "meta_data": texts["meta-data"],
        "user_data": texts["user-data"],
        "network_config": texts.get("network-config"),
        "error": None,
    }


def _in_words(vm: VM) -> str:
    """The files as they are; user data of several parts taken apart, as they are in base64."""
    found = []
    for name, content in _files(vm)[1].items():
        for what, part in _parts(content):
            text = part.decode(errors="replace").rstrip("\n")
            found.append(f"# {vm.name}: {name}{what}\n{text}")
    return "\n".join(found)


def _parts(content: bytes) -> list[tuple[str, bytes]]:
    if not content.startswith(b"Content-Type: multipart/"):
        return [("", content)]
    import email

    message = email.message_from_bytes(content)
    leaves = [part for part in message.walk() if not part.is_multipart()]
    return [
        (f", {leaf.get_content_type()}", _body(leaf.get_payload(decode=True))) for leaf in leaves
    ]


def _body(payload: object) -> bytes:
    return payload if isinstance(payload, bytes) else b""
