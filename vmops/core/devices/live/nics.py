"""Interfaces of a running QEMU: what it has by now, and what adds one, removes one, or pulls its
link."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vmops.core.devices import nic as nics
from vmops.core.devices.live import ports
from vmops.core.devices.nic import Plugging, RunningNic
from vmops.core.inventory.model import Nic
from vmops.core.names import tap_name
from vmops.core.script.command import Command, Step
from vmops.core.tools import ip, monitor, ovs
from vmops.core.tools.monitor import Await, Heard, Line, Need, Talk, WithTap
from vmops.core.tools.process import Process
from vmops.core.tools.qmp import Request

NETWORK = Request("human-monitor-command", {"command-line": "info network"})
"""What `parse` reads. QMP has no request of its own that tells which card has which TAP."""

ADD, REMOVE, LINK = "add", "remove", "link"

RELEASE_LIMIT_S = 10.0
"""How long a guest may take to let go of a card: it may refuse, or have no driver for that."""

_CARD = re.compile(r"(\S+): index=0,type=nic,model=([^,\s]+),macaddr=([0-9a-f:]{17})\s*$")
_BACK_END = re.compile(r"\s*(\\ )?(\S+): index=0,type=tap,(?:ifname=([^,\s]+),|fd=)")


# What it has


def has(
    started_with: Sequence[RunningNic], taps: frozenset[str] | None, heard: Heard | None
) -> tuple[tuple[RunningNic, ...], bool]:
    """The interfaces of a running QEMU, and whether its monitor has said so.

    Where it has not, those whose `taps` the process has open: of one that it was not started with,
    model and MAC are not known.
    """
    said = next((each for each in heard.answers if isinstance(each, str)), None) if heard else None
    if said is not None:
        places = {each.tap: each.card for each in started_with}
        found = (
            each if each.card or each.is_bare else each._replace(card=places.get(each.tap, ""))
            for each in parse(said)
        )
        return tuple(each._replace(cut_off=_is_cut_off(each, taps)) for each in found), True
    if taps is None:
        return tuple(started_with), False
    known = {each.tap: each for each in started_with}
    later = (RunningNic(tap, "", "") for tap in sorted(taps - known.keys()))
    return (*(each for each in started_with if each.tap in taps), *later), False


def _is_cut_off(nic: RunningNic, taps: frozenset[str] | None) -> bool:
    return taps is not None and nic.tap not in taps


def parse(said: str) -> tuple[RunningNic, ...]:
    """From `info network`: a line for each card, and behind it or alone one for its back end.

    A back end that was given an open TAP shows no name: its id is that of the TAP.
    """
    found: list[RunningNic] = []
    card: tuple[str, str, str] = ("", "", "")
    for line in said.split("\n"):
        if match := _CARD.match(line.rstrip("\r")):
            card = (match[1], match[2], match[3])
        elif match := _BACK_END.match(line):
            behind, netdev, tap = match.groups()
            name, model, mac = card if behind else ("", "", "")
            # A card that has no id is called after its model, with a number.
            name = "" if re.fullmatch(rf"{re.escape(model)}\.\d+", name) else name
            found.append(RunningNic(tap or netdev, mac, model, card=name, netdev=netdev))
            card = ("", "", "")
    return tuple(found)


# What changes it


def no_card(vm: str, nic: Nic) -> Command:
    """That QEMU has no card of that interface: what takes an addition back would remove it."""
    known = Request("qom-list", {"path": "/machine/peripheral"})
    return _said(vm, known, Need(f'"name": "{nic.tap}"', absent=True))


def adding(
    job: Plugging, nic: Nic, running: Process, *, bare: RunningNic | None, port: str = ""
) -> Step:
    """Its TAP and port, its back end and its card; undone together, and the TAP stays where QEMU
    has kept it open all the same.

    QEMU is given the TAP opened: it has lost the right to open one. `bare` is the back end, where
    one is left from an addition that was cut short, `port` the root port that takes the card, where
    the machine has those.
    """
    plug: tuple[Command, ...] = ()
    undo: tuple[Command, ...] = ()
    if nics.port_drift(job.worker, job.vm, nic, job.wiring):
        step = nics.plug_step(job, [nic])
        plug = step.commands
        undo = tuple(unless_open(running, nic.tap, entry) for entry in step.undo)
    netdev = bare.netdev if bare else nic.tap
    card = Request(
        "device_add",
        {"driver": nics.device_of(nic), "id": nic.tap, "netdev": netdev, "mac": nic.mac}
        | ports.at(port),
    )
    lines: list[Line] = []
    if bare is None:
        back_end = {"type": "tap", "id": netdev, "fd": nic.tap}
        lines += [WithTap(nic.tap), Request("netdev_add", back_end)]
    back = (
        _taken_back(job.vm.name, *_out(nic.tap)),
        _taken_back(job.vm.name, Request("netdev_del", {"id": netdev})),
        _taken_back(job.vm.name, Request("closefd", {"fdname": nic.tap})),
    )
    return Step(
        f"{ADD} {nic.name}",
        (*plug, _said(job.vm.name, *lines, card)),
        undo=(*back, *undo),
        sets=(nics.flag(nic),),
        about=(nic.name,),
    )


def removing(job: Plugging, has: RunningNic, running: Process) -> Step:
    """Its card, when the guest has let go of it, its back end, its port and its TAP.

    Where the guest does not let go, nothing behind the card is touched: that may be asked again.
    """
    vm = job.vm
    lines: list[Line] = [*_surely(has), *_out(has.card)] if has.card else []
    lines.append(Request("netdev_del", {"id": has.netdev}))
    name = interface_of(vm.vm_id, has.tap)
    gone = (
        unless_open(running, has.tap, ovs.unplug_own(vm, [has.tap])),
        unless_open(running, has.tap, ip.undo_create(has.tap, vm.name)),
    )
    return Step(f"{REMOVE} {name}", (_said(vm.name, *lines), *gone), about=(name,))


def _surely(has: RunningNic) -> tuple[Line, ...]:
    """That a card without an id is where its place on the command line says."""
    if not has.card.startswith(nics.ANONYMOUS):
        return ()
    mac = Request("qom-get", {"path": has.card, "property": "mac"})
    return (mac, Need(has.mac))


def _out(card: str) -> tuple[Line, ...]:
    """QEMU asks the guest. A back end that is removed before its card leaves a dead card.

    A virtio card says twice that it is gone: first of its inner part.
    """
    key = "path" if card.startswith(nics.ANONYMOUS) else "device"
    return (
        Request("device_del", {"id": card}),
        Await("DEVICE_DELETED", RELEASE_LIMIT_S, holding=f'"{key}": "{card}"', then="go on"),
    )


def setting_link(vm: str, has: RunningNic, *, up: bool) -> Step:
    """The cable of an interface, pulled or put in again, as its guest sees it."""
    request = Request("set_link", {"name": has.netdev, "up": up})
    back = Request("set_link", {"name": has.netdev, "up": not up})
    mark = ovs.mark_link(has.tap, up=up)
    return Step(LINK, (_said(vm, request), mark), undo=(_taken_back(vm, back),))


def interface_of(vm_id: int, tap: str) -> str:
    """The name of the interface whose TAP that is, as far as it can be told."""
    name = tap.removeprefix(f"tap_{vm_id}_")
    return name if tap_name(vm_id, name) == tap else tap


def unless_open(running: Process, tap: str, entry: Command) -> Command:
    """The command, unless the process has the TAP open: to take it away would leave a dead card."""
    return entry._replace(argv=("unless_open", str(running.pid), tap, *entry.argv), common=0)


def _said(vm: str, *lines: Line) -> Command:
    return monitor.talk([Talk(vm, lines)])


def _taken_back(vm: str, *lines: Line) -> Command:
    """The talk, where it is no failure that what it names is not there."""
    entry = _said(vm, *lines)
    return entry._replace(argv=("take_back", *entry.argv))


def why_kept(heard: Heard) -> str:
    """In words, why a card is still there; empty where the talk says nothing of it."""
    if heard.answers and heard.ended == "silent" and not monitor.is_refused(heard):
        return (
            f"its guest has not let go of it within {RELEASE_LIMIT_S:g} s: it may have no driver"
            " for that, or stand still"
        )
    return monitor.why(heard)
