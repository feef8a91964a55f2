"""Talking to the monitors of a worker's VMs: one exchange for all, with a look at what runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from vmops.core.facts.monitors import said_to
from vmops.core.facts.question import Question, Unanswered
from vmops.core.facts.vms import RUNNING, RunningVM
from vmops.core.names import RunDirectory
from vmops.core.tools import monitor, qmp
from vmops.core.tools.monitor import ANSWER_LIMIT_S, Heard, Line, Talk
from vmops.core.tools.qmp import Request
from vmops.errors import MonitorError, NotRunning, VmopsError
from vmops.ops.act import ask as ask_worker
from vmops.ops.act import running_of, unreadable
from vmops.ops.route import Route

T = TypeVar("T")


def talk(route: Route, talks: Sequence[Talk]) -> dict[str, Heard | VmopsError]:
    """Hold these talks, all at once: what was heard of each VM, or why there was nothing.

    NotRunning where there is no QEMU, MonitorError where it does not answer or says no. Never
    raises a VmopsError.
    """
    lines = {each.vm: each.lines for each in talks}

    def judged(running: RunningVM, said: Heard | None) -> Heard | VmopsError:
        said = said or Heard(running.name, ended="no socket")
        return failure(route, running, said, lines[running.name]) or said

    return beside_what_runs(route, list(lines), said_to(talks), _supposed(talks), judged)


def beside_what_runs(
    route: Route,
    vms: Sequence[str],
    question: Question[Mapping[str, T]],
    supposed: Mapping[str, T],
    judged: Callable[[RunningVM, T | None], T | VmopsError],
) -> dict[str, T | VmopsError]:
    """What each VM said to the question, judged by how it runs, which is asked beside it.

    A dry run takes what is `supposed`. Where the worker cannot be asked, or its answer not be
    read, that is every VM's error; Gone is that of one that was moved. Never raises a VmopsError.
    """
    if not vms:
        return {}
    gone: Mapping[str, VmopsError] = {}
    try:
        if route.watch is None:
            answers = ask_worker(route, RUNNING, question)
        else:
            # The others have been talked to by then, and nothing is to be said to them twice.
            questions = route.watch.beside((RUNNING, question))
            answers = ask_worker(route._replace(watch=None), *questions)
            gone = route.watch.errors(answers)
        seen = running_of(route, answers, vms)
        heard = supposed if route.transcript is not None else answers[question]
    except Unanswered as error:
        return dict.fromkeys(vms, unreadable(route, error))
    except VmopsError as error:
        return dict.fromkeys(vms, error)
    return {vm: gone.get(vm) or judged(seen[vm], heard.get(vm)) for vm in vms}


def ask(route: Route, vms: Sequence[str], *requests: Request) -> dict[str, list[Any] | VmopsError]:
    """What each VM's monitor answers to the same requests, in order; errors as in `talk`."""
    found = talk(route, [Talk(vm, requests) for vm in vms])
    return {
        vm: said if isinstance(said, VmopsError) else list(said.answers)
        for vm, said in found.items()
    }


def _supposed(talks: Sequence[Talk]) -> Mapping[str, Heard]:
    """For a dry run: every guest runs, and every request is granted."""

    def answer(line: Line) -> list[Any]:
        if not isinstance(line, Request):
            return []
        return [{"status": qmp.RUNNING} if line == qmp.STATUS else {}]

    return {
        each.vm: Heard(each.vm, tuple(a for line in each.lines for a in answer(line)))
        for each in talks
    }


def failure(
    route: Route,
    running: RunningVM,
    heard: Heard,
    lines: Sequence[Line],
    *,
    limit_s: float = ANSWER_LIMIT_S,
) -> VmopsError | None:
    """Why a talk of these lines, in so many seconds each, did not come to its end; None where it
    did."""
    worker, vm = route.worker.name, running.name
    if silent := cannot_answer(running, worker):
        return silent
    heard = monitor.only(heard, lines)
    if monitor.is_refused(heard):
        return MonitorError(_refusal(heard, lines), worker=worker, vm=vm)
    why = monitor.why(heard)
    if not why:
        return None
    cure = f"see who has it, there: sudo ss -xp | grep {RunDirectory(vm).path}/qmp"
    if heard.ended == "busy":
        why += f": no greeting within {limit_s:g} s"
    return MonitorError(why, worker=worker, vm=vm, cure=cure if heard.ended == "busy" else "")


def cannot_answer(running: RunningVM, worker: str) -> VmopsError | None:
    """Why neither a VM's monitor nor its guest can say anything; None where they may."""
    if running.odd:
        return running.doubt(worker)
    if running.process is None:
        return not_running(running.name, running.state, worker)
    return frozen(running.name, running, worker) if running.process.stopped else None


def _refusal(heard: Heard, lines: Sequence[Line]) -> str:
    """The first request that QEMU refused, and its reason."""
    requests = [line for line in lines if isinstance(line, Request)]
    for request, answer in zip(requests, heard.answers, strict=False):
        if isinstance(answer, monitor.Refused):
            return f"QEMU refuses {request.command}: {answer.text}"
    return monitor.why(heard)


def not_running(vm: str, state: str, worker: str) -> NotRunning:
    """The error for a VM without a QEMU, in the state `stopped` or `crashed`."""
    cure = f"fab launch --vm {vm} starts it"
    if state == "crashed":
        cure = f"fab launch --vm {vm} clears away what it left and starts it"
    what = f"{vm} has crashed" if state == "crashed" else f"{vm} is {state}"
    return NotRunning(what, worker=worker, vm=vm, cure=cure)


def frozen(vm: str, running: RunningVM, worker: str) -> MonitorError:
    """The error for a VM whose QEMU is held by a signal: it can answer nothing."""
    pid = running.process.pid if running.process else 0
    return MonitorError(
        "its QEMU is held by a signal (SIGSTOP)",
        worker=worker,
        vm=vm,
        cure=f"let it continue, there: sudo kill -CONT {pid}; or fab stop --vm {vm}",
    )


def unreadable_answer(route: Route, vm: str, error: ValueError) -> MonitorError:
    """The error for an answer of QEMU's that is not what was asked for."""
    what = f"what QEMU said cannot be read: {error}"
    return MonitorError(what, worker=route.worker.name, vm=vm)
