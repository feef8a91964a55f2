"""The words of the table: what VMs, images, networks and workers begin with and come to."""

from __future__ import annotations

from typing import Literal

OfVM = Literal[
    "gone",
    "plugged",
    "running",
    "paused",
    "crashed",
    "rebooted",
    "kept",
    "documented",
    "adopted",
    "saved",
    "suspended",
    "unlinked",
    "impaired",
    "frozen",
    "away",
    "moved",
    "returned",
]
"""`crashed`: QEMU was killed from outside, its TAPs, ports and run directory are left. `rebooted`:
only the rows of its ports are, as after a restart of the worker. `kept`: only the disk that was
made for it is. `documented`: it runs by the documented lines, and not by vmops; `adopted`: that has
been taken over. `saved`: it runs and has a snapshot; `unlinked`: it runs with a cable pulled;
`impaired`: with a line that is slowed down, by hand; `frozen`: with a guest whose file systems are
frozen, by hand.
`away`: it was started on the second worker; `moved`: it has been here, and runs there; `returned`:
it has been there, and runs here."""

OfImage = Literal["absent", "partial", "whole"]
"""A VM that begins with `absent` has no image there to make its disk of."""

State = OfVM | OfImage

OfThings = Literal["down", "served", "open", "drained"]
"""Of networks, and of what makes the worker follow OVN's central: `down` or `served`. Of the
worker: `open` or `drained`."""

File = Literal[
    "hosts",
    "changed",
    "networks",
    "changed-networks",
    "agents",
    "pair",
    "mesh",
    "shared",
    "ovn",
    "changed-ovn",
]
"""What hosts.toml the operator has. Those of networks serve two of them on the worker; `agents`
has a VM whose guest has an agent, and was booted long before; `pair` has a second worker beside it,
and gives the VM none; `shared` has these with one folder for their disks, `mesh` a VM on each of
the two, which have no VLAN in common. Those of OVN have two networks that it carries, and its
central on the worker."""
