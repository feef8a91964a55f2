"""Talking to the agents of guests: programs run in them, and the addresses that they have."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vmops.core.facts.question import Question
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.model import VM
from vmops.core.script.command import StepResult
from vmops.core.tools import agent
from vmops.core.tools.agent import Address, AgentHeard, AgentTalk, Ended, Line
from vmops.errors import CommandTimeout, MonitorError, VmopsError
from vmops.ops.guest.monitors import beside_what_runs, cannot_answer
from vmops.ops.route import Route

LOOK_LIMIT_S = 1.0
"""For each answer where many are only looked at."""

_LONGEST_S = 120.0
"""What an agent that sends all it may, and no quicker than it must, can take."""

POLL_S = 8.0
"""How long one exchange waits for a program's end: others may want to talk to that guest too."""


class Ran(NamedTuple):
    """What came of a program in one VM's guest: how it ended, or the error."""

    vm: str
    worker: str
    ended: Ended | None = None
    error: VmopsError | None = None


def execute(
    route: Route, vms: Sequence[VM], argv: Sequence[str], *, timeout_s: float = 30
) -> list[Ran]:
    """Run a program in each guest, all at once, and wait for its end for so many seconds.

    No shell takes the words apart. Of what it prints some 4 MiB come back, shared by all VMs; more
    is that VM's error. What runs longer goes on in the guest, and is a CommandTimeout. Never
    raises a VmopsError.
    """
    worker = route.worker.name
    until = time.monotonic() + timeout_s
    begun = talk(route, [AgentTalk(vm.name, (agent.execute(argv),)) for vm in vms])
    pids: dict[str, int] = {}
    ran = {vm.name: Ran(vm.name, worker) for vm in vms}
    for vm, said in begun.items():
        pid = said if isinstance(said, VmopsError) else _read(route, vm, said, _pid)
        if isinstance(pid, VmopsError):
            ran[vm] = ran[vm]._replace(error=pid)
        else:
            pids[vm] = pid
    if route.transcript is not None:
        return list(ran.values())
    while pids:
        seconds = max(0.1, min(POLL_S, until - time.monotonic()))
        asked = [
            AgentTalk(vm, (agent.await_end(pid, seconds=seconds),)) for vm, pid in pids.items()
        ]
        for vm, said in talk(route, asked).items():
            ended = said if isinstance(said, VmopsError) else _read(route, vm, said, agent.read_end)
            if isinstance(ended, VmopsError):
                ran[vm] = ran[vm]._replace(error=ended)
            elif ended.exit_code is not None:
                ran[vm] = ran[vm]._replace(ended=ended)
            elif time.monotonic() >= until:
                ran[vm] = ran[vm]._replace(error=_late(route, vm, argv, timeout_s))
            else:
                continue
            del pids[vm]
    return list(ran.values())


def _pid(answer: Any) -> int:
    return agent.read_number(answer, "pid")


def _late(route: Route, vm: str, argv: Sequence[str], timeout_s: float) -> CommandTimeout:
    what = f"{argv[0]} has not ended within {timeout_s:g} s, and goes on in the guest"
    return CommandTimeout(what, worker=route.worker.name, vm=vm, cure="give it more: --timeout")


def addresses(route: Route, vms: Sequence[str]) -> dict[str, tuple[Address, ...]]:
    """The addresses of these guests, as far as their agents tell them at once."""
    found = talk(
        route, [AgentTalk(vm, (agent.INTERFACES,), LOOK_LIMIT_S, LOOK_LIMIT_S) for vm in vms]
    )
    return {
        vm: agent.read_addresses(said.answers[0])
        for vm, said in found.items()
        if not isinstance(said, VmopsError)
    }


def talk(route: Route, talks: Sequence[AgentTalk]) -> dict[str, AgentHeard | VmopsError]:
    """Hold these talks, all at once: what was heard of each VM, or why there was nothing.

    NotRunning where there is no QEMU, MonitorError where there is no agent, or it says no. Never
    raises a VmopsError.
    """
    limit_s = sum(_limit_s(line, each.limit_s) for each in talks for line in each.lines)
    question = Question(
        "guest agents",
        (agent.talk(talks),),
        _heard,
        time_limit_s=_LONGEST_S + limit_s,
        may_fail=True,
    )

    def judged(running: RunningVM, said: AgentHeard | None) -> AgentHeard | VmopsError:
        said = said or AgentHeard(running.name, ended="no vm")
        return _failure(route, running, said) or said

    return beside_what_runs(route, [each.vm for each in talks], question, _supposed(talks), judged)


def _limit_s(line: Line, answer_s: float) -> float:
    return answer_s + (line.seconds if isinstance(line, agent.Poll) else 0)


def _heard(said: StepResult) -> Mapping[str, AgentHeard]:
    return agent.read_talk(said.stdout)


def _supposed(talks: Sequence[AgentTalk]) -> Mapping[str, AgentHeard]:
    """For a dry run: every request is granted."""
    return {each.vm: AgentHeard(each.vm, tuple({"pid": 0} for _ in each.lines)) for each in talks}


def _read(route: Route, vm: str, said: AgentHeard, read: Any) -> Any:
    """The last answer, read; or the error for what it is not."""
    try:
        return read(said.answers[-1])
    except (ValueError, IndexError, RecursionError) as strange:
        return unreadable_answer(route, vm, strange)


def unreadable_answer(route: Route, vm: str, why: Exception) -> MonitorError:
    """The error for an answer of a guest that is not what was asked for."""
    what = f"what its guest agent answers cannot be read: {why}"
    return MonitorError(what, worker=route.worker.name, vm=vm)


def _failure(route: Route, running: RunningVM, heard: AgentHeard) -> VmopsError | None:
    worker, vm = route.worker.name, running.name
    if silent := cannot_answer(running, worker):
        return silent
    why = agent.why(heard)
    if not why:
        return None
    return MonitorError(why, worker=worker, vm=vm, cure=cure_of(vm, heard))


def cure_of(vm: str, heard: AgentHeard) -> str:
    """What to do about an agent that was not heard; empty where nothing is known."""
    cures: dict[agent.Ending, str] = {
        "no port": "a VM has one that has an image in hosts.toml, once it was started so:"
        f" fab restart --vm {vm}",
        "no agent": "install qemu-guest-agent in the guest, and wait until it has booted",
        "busy": "try again",
        "too much": "write it to a file there, and fetch that: fab cp",
    }
    return cures.get(heard.ended, "")
