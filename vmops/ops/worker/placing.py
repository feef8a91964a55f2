"""Placing VMs: all workers are asked at once, in one exchange with each, and it is decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.host import HOST
from vmops.core.facts.images import MOVES, OWN_DISKS, SUSPENDED
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RUNNING, images
from vmops.core.facts.wiring import DRAINED
from vmops.core.inventory.model import VM
from vmops.core.plan.elsewhere import Elsewhere
from vmops.core.plan.placement import finding
from vmops.core.plan.placement.choice import Asked, Choice, Wish
from vmops.core.plan.placement.choose import choose
from vmops.core.plan.placement.home import is_drained
from vmops.errors import UnexpectedOutput, VmopsError
from vmops.ops.act import observe
from vmops.ops.fleet import on_each
from vmops.ops.route import Group, Route
from vmops.ops.vm.seeds import told

_TELLING = tuple(q.name for q in (OWN_DISKS, SUSPENDED, MOVES, facts.IMAGES))
"""What could not be read of these might have told where a VM belongs."""


class Placed(NamedTuple):
    """The choice for each VM, and what runs on the workers that were asked."""

    choices: tuple[Choice, ...]
    elsewhere: Elsewhere


def place(routes: Sequence[Route], wish: Wish) -> Placed:
    """Ask all of these workers, and choose one for each VM of the wish. Nothing is done there.

    Raises InventoryError for a file that a guest is to be told and that cannot be read; a worker
    that cannot be asked is among `elsewhere.unasked`.
    """
    wish = wish._replace(vms=told(wish.vms))
    asked = ask(routes, wish)
    ran = {name: seen.vms for name, seen in asked.seen.items()}
    drained = frozenset(name for name, seen in asked.seen.items() if is_drained(seen))
    return Placed(tuple(choose(asked, wish)), Elsewhere(ran, asked.unasked, drained))


def find(routes: Sequence[Route], vms: Sequence[VM]) -> list[Choice]:
    """The worker of each VM, asked of all of these at once: see `finding.find`."""
    questions = (HOST, RUNNING, SUSPENDED, MOVES, OWN_DISKS, images(vms))
    return finding.find(_asked(routes, lambda group: questions, vms), tuple(vms))


def ask(routes: Sequence[Route], wish: Wish) -> Asked:
    """What of these workers has to be known, from one exchange with each, all at once."""

    def questions(group: Group) -> Sequence[facts.Asked]:
        vms = [*wish.vms, *wish.beside.get(group.route.worker.name, ())]
        asked = (*facts.for_starting(vms, bases=wish.terms.bases), DRAINED)
        return asked if OWN_DISKS in asked else (*asked, OWN_DISKS)

    return _asked(routes, questions, wish.vms)


def _asked(
    routes: Sequence[Route], questions: Callable[[Group], Sequence[facts.Asked]], vms: Sequence[VM]
) -> Asked:
    def look(group: Group) -> Observed | VmopsError:
        try:
            seen = observe(group.route, questions(group), vms=vms, suppose=supposed.blank)
        except VmopsError as error:
            return error
        unread = next((name for name in _TELLING if name in seen.faults), None)
        if unread is None:
            return seen
        what = f"{unread}: {seen.faults[unread]}"
        return UnexpectedOutput(what, worker=group.route.worker.name, cure="fab doctor")

    found = {g.route.worker.name: said for g, said in on_each([*map(Group, routes)], look)}
    workers = {route.worker.name: route.worker for route in routes}
    seen = {name: said for name in workers if isinstance(said := found[name], Observed)}
    unasked = {name: said for name in workers if isinstance(said := found[name], VmopsError)}
    return Asked(workers, seen, unasked)
