"""The ways that need only a shell: over OpenSSH's client, or on the worker itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.place import Place
from bench.processes import Call, Processes, Work
from bench.ways.documented import launch_calls, stop_calls
from bench.ways.optimised import launch_script, stop_script
from bench.ways.way import Way
from vmops.core.inventory.model import VM

Calls = Callable[[VM], tuple[str, ...]]
Script = Callable[[Sequence[VM]], str]


def documented(place: Place, vms: Sequence[VM]) -> Way:
    """A new ssh for every call, one after the other."""

    def work(calls: Calls) -> Work:
        lane = [Call((*place.ssh(str(vm.worker)), call)) for vm in vms for call in calls(vm)]
        return Processes([lane])

    return Way(
        "documented",
        "the documented calls, an ssh each",
        work(launch_calls),
        work(stop_calls),
        patient=True,
    )


def script(place: Place, vms: Sequence[VM]) -> Way:
    """All documented calls of a worker as one script."""
    title = "all calls as one script over one new ssh"
    return _over_ssh("script", title, place, vms, ("bash -s", _all(launch_calls), _all(stop_calls)))


def optimised(place: Place, vms: Sequence[VM]) -> Way:
    """One root shell and as few programs as can be."""
    title = "an optimised script over one new ssh"
    programs = ("sudo sh -s", launch_script, stop_script)
    return _over_ssh("optimised", title, place, vms, programs)


def documented_there(place: Place, vms: Sequence[VM]) -> Way:
    """The documented calls without a network: bash on the worker runs them."""
    title = "the documented calls by bash on the worker itself"
    programs = ("bash", _all(launch_calls), _all(stop_calls))
    return _inside("documented-there", title, place, vms, programs)


def optimised_there(place: Place, vms: Sequence[VM]) -> Way:
    """The optimised script without a network."""
    title = "an optimised script on the worker itself"
    programs = ("sh", launch_script, stop_script)
    return _inside("optimised-there", title, place, vms, programs)


def _all(calls: Calls) -> Script:
    def text(vms: Sequence[VM]) -> str:
        return "\n".join(["set -e", *(call for vm in vms for call in calls(vm)), ""])

    return text


def _over_ssh(
    key: str, title: str, place: Place, vms: Sequence[VM], programs: tuple[str, Script, Script]
) -> Way:
    """A script for each worker that has some of the VMs, all workers at once."""
    shell, start, stop = programs

    def work(build: Script) -> Work:
        return Processes(
            [
                [Call((*place.ssh(worker), shell), build(mine).encode())]
                for worker, mine in by_worker(vms).items()
            ]
        )

    return Way(key, title, work(start), work(stop))


def _inside(
    key: str, title: str, place: Place, vms: Sequence[VM], programs: tuple[str, Script, Script]
) -> Way:
    shell, start, stop = programs

    def work(build: Script) -> Work:
        return Processes(
            [
                [Call(tuple(place.lab.enter(worker, [shell, "-s"])), build(mine).encode())]
                for worker, mine in by_worker(vms).items()
            ]
        )

    return Way(key, title, work(start), work(stop))


def by_worker(vms: Sequence[VM]) -> dict[str, list[VM]]:
    """The VMs of each worker, in order."""
    found: dict[str, list[VM]] = {}
    for vm in vms:
        found.setdefault(str(vm.worker), []).append(vm)
    return found
