"""Workers that are made to follow OVN's central. Nothing is installed."""

from __future__ import annotations

from typing import NamedTuple

from vmops.core.facts.network.following import Following, Outer, following
from vmops.core.facts.question import Unanswered
from vmops.core.inventory.inventory import Part
from vmops.core.plan.network import following as plan
from vmops.core.plan.phase import ACT_LIMIT_S
from vmops.core.script.command import BlockResult
from vmops.errors import ConnectionLost, VmopsError, WorkFailed
from vmops.ops.act import ask, perform, unreadable
from vmops.ops.route import Route


class Follower(NamedTuple):
    """A worker that was set up: which of its settings were made, in a word each, and whether its
    controller has a connection."""

    worker: str
    made: tuple[str, ...] = ()
    connected: bool = False
    error: VmopsError | None = None


def look(route: Route, part: Part) -> Following:
    """What the worker has. Raises UnexpectedOutput where it cannot be told."""
    question = following(route.worker, part)
    answers = ask(route, question)
    if route.transcript is not None:
        return Following(outer=Outer(part.device) if part.device else None)
    try:
        return answers[question]
    except Unanswered as error:
        raise unreadable(route, error) from error


def set_up(route: Route, part: Part) -> Follower:
    """Set what a worker lacks to follow the central, and wait until it does. Never raises a
    VmopsError."""
    name = route.worker.name
    try:
        setup = plan.set_up(route.worker, part, look(route, part))
        if setup.block is None:
            return Follower(name, connected=True)
        (result,) = perform(route, [setup.block], time_limit_s=ACT_LIMIT_S)
    except VmopsError as error:
        return Follower(name, error=error)
    return _came_of(name, setup, result)


def _came_of(worker: str, setup: plan.Setup, result: BlockResult) -> Follower:
    labels = tuple(label for label in setup.labels if label != plan.CONNECTED)
    if result.outcome == "lost":
        return Follower(
            worker,
            error=ConnectionLost(
                "the answer was cut short", worker=worker, cure=f"fab -H {worker} doctor"
            ),
        )
    failed = [step for step in result.steps if not step.ok]
    if not failed and result.outcome == "done":
        return Follower(worker, labels, connected=True)
    why = failed[0].reason() if failed else result.why or "another change goes on there"
    made = tuple(step.step.label for step in result.steps if step.ok)
    return Follower(
        worker, made, error=WorkFailed(why, worker=worker, cure=f"fab -H {worker} doctor")
    )
