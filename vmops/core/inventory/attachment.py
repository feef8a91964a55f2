"""What an interface is attached to: where the frames of its guest go."""

from __future__ import annotations

from typing import NamedTuple


class Vlan(NamedTuple):
    """One VLAN, its frames untagged for the guest: an access port of that tag."""

    vlan_id: int

    def __str__(self) -> str:
        """The word for it in messages and drift."""
        return str(self.vlan_id)


Attachment = Vlan
"""Every kind that there is. An interface without one is not connected, and is never plugged."""
