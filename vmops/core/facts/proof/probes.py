"""What proves a network: probes that were sent, where they were learned, and the ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

from vmops.core.devices.nic import Wiring
from vmops.core.devices.storage.moving import Mark
from vmops.core.devices.storage.shared import as_seen
from vmops.core.facts.images import MOVES
from vmops.core.facts.question import Answers, Question, Unanswered, text_of
from vmops.core.facts.vms import RUNNING, RunningVM
from vmops.core.facts.wiring import SWITCH, TAPS, VSWITCHD_IS_DEAD
from vmops.core.script.command import StepResult
from vmops.core.tools.proof import probe
from vmops.core.tools.proof.probe import Probe, Sighting

SENT, LEARNED = "probes", "learned probes"
LIMIT_S = 60.0


class Site(NamedTuple):
    """A worker as its part of the proof needs it.

    `refused` says by port why it took no probe. `fault` says why probes could not be sent at all.
    `moves` are its marks of VMs that are moved, none where they cannot be read.
    """

    wiring: Wiring
    running: Mapping[str, RunningVM] = MappingProxyType({})
    refused: Mapping[str, str] = MappingProxyType({})
    fault: str = ""
    moves: Mapping[str, Mark] = MappingProxyType({})

    def waits(self, vm: str) -> bool:
        """True where the VM's QEMU waits there for what comes from another worker, or may have sent
        its own."""
        mark = self.moves.get(vm)
        return mark is not None and mark.how in ("receiving", "elsewhere")


def sending(bridge: str, probes: Sequence[Probe]) -> tuple[Question[Any], ...]:
    """The questions of the first exchange: the wiring, what runs, and the probes on their way.

    The probes come first: whoever is late in answering has sent them by then.
    """
    sent: Question[Any] = Question(SENT, (probe.send(bridge, probes),), _refusals, LIMIT_S)
    return (sent, VSWITCHD_IS_DEAD, SWITCH, TAPS, RUNNING, MOVES)


def _refusals(said: StepResult) -> dict[str, str]:
    return probe.parse_refusals(text_of(said))


def read(worker: str, answers: Answers, asked: Sequence[Question[Any]]) -> Site:
    """The answers of a worker to `sending`. Raises Unanswered where the ports or what runs cannot
    be read."""
    sent, *_ = asked
    switch = answers[SWITCH]._replace(dead=answers[VSWITCHD_IS_DEAD])
    running = answers[RUNNING]
    site = Site(Wiring(switch, answers[TAPS]), running)
    with suppress(Unanswered):
        site = site._replace(moves=as_seen(worker, answers[MOVES]))
    try:
        refused = answers[sent]
    except Unanswered as fault:
        return site._replace(fault=str(fault))
    return site._replace(refused=refused)


def learned(bridge: str, run: int) -> Question[tuple[Sighting, ...]]:
    """Where the bridge has learned the probes of this run."""
    return Question(LEARNED, (probe.look(bridge, run),), _sightings, LIMIT_S)


def _sightings(said: StepResult) -> tuple[Sighting, ...]:
    return probe.parse(text_of(said))
