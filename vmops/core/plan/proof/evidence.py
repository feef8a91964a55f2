"""What a proof is made of, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.devices.network.mesh import Mesh
from vmops.core.facts.proof.probes import Site
from vmops.core.inventory.model import Worker
from vmops.core.plan.proof.ends import Drawn, End
from vmops.core.plan.proof.logical import Hearing
from vmops.core.tools.proof.probe import Sighting
from vmops.errors import VmopsError


class Pair(NamedTuple):
    """One interface and another, one way: whether it is to reach it, and whether it does; None
    where a worker could not be asked."""

    source: End
    target: End
    wanted: bool
    found: bool | None

    @property
    def ok(self) -> bool:
        """True where it is as hosts.toml has it."""
        return self.found == self.wanted


class Evidence(NamedTuple):
    """All that was found: the interfaces, the workers that answered, and where each probe was
    learned, by worker; `hearing` is what was heard of packets in networks of OVN, and `meshes` are
    the tunnels that workers are to have. `drawn` are all interfaces, also those that are not
    there."""

    ends: Sequence[End]
    workers: Mapping[str, Worker]
    sites: Mapping[str, Site]
    learned: Mapping[str, Sequence[Sighting]]
    hearing: Hearing = Hearing()
    meshes: Mapping[str, Mesh] = MappingProxyType({})
    drawn: Sequence[Drawn] = ()


class Proof(NamedTuple):
    """Every pair, and what is wrong, each cause once."""

    ends: Sequence[End]
    pairs: Sequence[Pair]
    faults: Sequence[VmopsError]
