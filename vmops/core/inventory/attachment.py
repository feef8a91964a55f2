"""What an interface is attached to: where the frames of its guest go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vmops.core.inventory.complaints import Fault, show


class Vlan(NamedTuple):
    """One VLAN, its frames untagged for the guest: an access port of that tag."""

    vlan_id: int

    def __str__(self) -> str:
        """The word for it in messages and drift."""
        return str(self.vlan_id)


class Trunk(NamedTuple):
    """Several VLANs, which the guest has with their tags; frames of the `native` one have none."""

    vlan_ids: tuple[int, ...]
    native: int | None = None

    @property
    def mode(self) -> str:
        """The port's `vlan_mode`. It is never left to Open vSwitch, which takes what has a tag and
        no mode for an access port."""
        return "trunk" if self.native is None else "native-untagged"

    def __str__(self) -> str:
        """The word for it in messages and drift."""
        native = "" if self.native is None else f"{self.native} with "
        return f"{native}{self.mode} {list(self.vlan_ids)}"


class LogicalPort(NamedTuple):
    """A port of OVN, by the name that the network's switch has for it there: no VLAN at all."""

    name: str

    def __str__(self) -> str:
        """The word for it in messages and drift."""
        return f"OVN port {self.name}"


Attachment = Vlan | Trunk | LogicalPort
"""Every kind that there is. An interface without one is not connected, and is never plugged."""


def attachment(vlan_id: int | None, trunks: tuple[int, ...], port: str = "") -> Attachment | None:
    """What these keys of an interface mean; `port` is the one that it has where OVN carries it."""
    if port:
        return LogicalPort(port)
    if trunks:
        return Trunk(trunks, vlan_id)
    return None if vlan_id is None else Vlan(vlan_id)


def attachment_faults(interface: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with the VLANs of an interface that are good each by itself."""
    vlan_id, trunks = interface.get("vlan_id"), interface.get("trunks") or ()
    if engine := interface.get("engine"):
        if not interface.get("network"):
            why = "must be left out, as there is no network"
            return [Fault(("engine",), f"{show(engine)}: {why}")]
        return [
            Fault((key,), f"{show(value)}: must be left out, as OVN knows no VLANs")
            for key, value in (("vlan_id", vlan_id), ("trunks", list(trunks)))
            if value
        ]
    if vlan_id is None or vlan_id not in trunks:
        return []
    why = f"must not have {vlan_id}, the VLAN whose frames have no tag"
    return [Fault(("trunks",), f"{list(trunks)}: {why}")]
