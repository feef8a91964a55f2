"""Through a door into a guest's network: a connection to one of its ports, and echoes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from vmops.core.facts.question import Unanswered
from vmops.core.facts.vms import RUNNING
from vmops.core.inventory.model import VM, Worker
from vmops.core.tools.proof import door as doors
from vmops.core.tools.proof.door import Asked, Door, Echo, Offer, Seat
from vmops.errors import (
    CommandTimeout,
    ConnectionLost,
    NotRunning,
    UnexpectedOutput,
    VmopsError,
    WorkFailed,
)
from vmops.ops.act import ask, running_of
from vmops.ops.dry import Shown
from vmops.ops.guest.monitors import cannot_answer
from vmops.ops.proof.caller import Call, call
from vmops.ops.route import Route

_LONGEST_LINE = 200
_MOST_OFFERS = 10_000
_SILENT_S = 30.0
"""For longer than that a door that lives says nothing: an echo has a second, offers a few."""


@contextmanager
def seated(central: Route, at: Worker, network: str, door: Door) -> Iterator[Door]:
    """The door with a port of its own in a network of OVN, on the worker `at`, while it is entered.

    `central` leads to the worker that has OVN's central; in a dry run the port is a supposed one.
    Raises as `call` does, and WorkFailed where OVN has no port for it.
    """
    end = at.tunnel_ip or ""

    def refused(why: str) -> VmopsError:
        what = f"OVN has no port for a door into network {network}: {why}"
        return WorkFailed(what, worker=central.worker.name, cure="fab net.up; fab ovn.setup")

    try:
        called = call(
            central, "", lambda path: doors.take_seat(path, network, end, door.choice), refused
        )
    except Shown:
        yield door.seated(Seat(door.choice[0], "MAC", "PORT"))
        return
    with closing(called.socket):
        seat = doors.parse_seat(called.said, network, door.choice)
        if seat is None:
            what = "what it says of a port for a door cannot be read"
            raise UnexpectedOutput(what, worker=central.worker.name)
        yield door.seated(seat)


def connect(route: Route, vm: VM, door: Door, target: tuple[str, int]) -> Call:
    """A connection to a port of the guest; to close its socket ends the door.

    Raises what `call` does, NotRunning for a VM that is stopped, and WorkFailed where there is no
    way in, or nobody answers.
    """
    bridge = route.worker.bridge
    refused = _refused(route, vm)
    return call(
        route,
        vm.name,
        lambda path: doors.connect(path, bridge, door, target),
        lambda why: _stopped(route, vm) or refused(why),
    )


def ping(route: Route, vm: VM, door: Door, target: tuple[str, int]) -> Iterator[Echo]:
    """Echoes as they come; `target` is an address, and how many. Raises as `connect` does."""
    bridge = route.worker.bridge
    called = call(
        route, vm.name, lambda path: doors.ping(path, bridge, door, target), _refused(route, vm)
    )
    with closing(called.socket):
        held = b""
        turn = 0
        while turn < target[1]:
            data = _heard(route, called)
            if not data:
                raise _ended(route, vm, called)
            *lines, held = (held + data).split(b"\n")
            for line in lines:
                echo = doors.parse_echo(line.decode(errors="replace"))
                if echo is None or len(held) > _LONGEST_LINE:
                    raise UnexpectedOutput("its echoes cannot be read", worker=route.worker.name)
                turn = echo.turn
                yield echo


def offers(route: Route, asked: Asked) -> list[Offer]:
    """Who offers a MAC an address in a VLAN of the worker. Raises as `call` does, and WorkFailed
    where no door could be made."""

    def refused(why: str) -> VmopsError:
        what = f"VLAN {asked.vlan_id} could not be asked for a lease: {why}"
        return WorkFailed(what, worker=route.worker.name, cure="fab doctor")

    bridge = route.worker.bridge
    called = call(
        route,
        "",
        lambda path: doors.ask_for_lease(path, bridge, asked),
        refused,
    )
    with closing(called.socket):
        said = b""
        while len(said) < _MOST_OFFERS and (data := _heard(route, called)):
            said += data
    found = (doors.parse_offer(line) for line in said.decode(errors="replace").split("\n"))
    return [offer for offer in found if offer is not None]


def _heard(route: Route, called: Call) -> bytes:
    called.socket.settimeout(_SILENT_S)
    try:
        return called.socket.recv(_LONGEST_LINE)
    except TimeoutError:
        what = f"its door has said nothing for {_SILENT_S:g} s"
        raise CommandTimeout(what, worker=route.worker.name, cure="fab doctor") from None


def _refused(route: Route, vm: VM) -> Callable[[str], VmopsError]:
    def refused(why: str) -> VmopsError:
        return WorkFailed(
            f"there is no way to its guest from its own worker: {why}",
            worker=route.worker.name,
            vm=vm.name,
            cure="fab verify; then see that the guest is up, and has that address",
        )

    return refused


def _stopped(route: Route, vm: VM) -> VmopsError | None:
    """NotRunning for a guest that cannot answer, as its VM does not run; None where it may, or
    where that cannot be said."""
    try:
        running = running_of(route, ask(route, RUNNING), [vm.name])[vm.name]
    except (Unanswered, VmopsError):
        return None
    found = cannot_answer(running, route.worker.name)
    return found if isinstance(found, NotRunning) else None


def _ended(route: Route, vm: VM, called: Call) -> VmopsError:
    worker = route.worker.name
    if called.was_cut:
        return ConnectionLost("the connection was lost", worker=worker)
    return WorkFailed("the door was closed there", worker=worker, vm=vm.name)
