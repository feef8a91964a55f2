"""TAPs, ports, and what has passed through them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vmops.core.devices import display
from vmops.core.devices.display import Screen
from vmops.core.facts.question import Question, lines_of, text_of
from vmops.core.inventory.networks.impairment import Impaired
from vmops.core.script.command import FACT_BYTES, Command, StepResult, command
from vmops.core.script.functions import NO_VMS, WHERE_VMS
from vmops.core.tools import ip, ovs
from vmops.core.tools.lines import tc


def where_vms(entry: Command) -> Command:
    """The command only on a worker with a VM, or a TAP of one; elsewhere it says NO_VMS."""
    return entry._replace(argv=(WHERE_VMS, *entry.argv))


def _switch(said: StepResult) -> ovs.Switch:
    text = text_of(said)
    return ovs.Switch() if text.strip() == NO_VMS else ovs.parse(text)


SWITCH = Question("Open vSwitch", (ovs.query(),), _switch)

SWITCH_WHERE_VMS = SWITCH._replace(commands=(where_vms(ovs.query()),))
"""The same where it matters: without a VM or a TAP its ports lead nowhere."""


def _why_dead(said: StepResult) -> str:
    reasons = {
        "dead": "ovs-vswitchd does not run",
        "stopped": "ovs-vswitchd is held by a signal (SIGSTOP)",
    }
    return reasons.get(text_of(said).strip(), "")


VSWITCHD_IS_DEAD = Question("ovs-vswitchd", (command("switch_facts"),), _why_dead)
"""Why nobody does what is written in OVSDB; empty where somebody does."""

DRAINED: Question[ovs.Drained | None] = Question(
    "whether it is drained", (ovs.read_drained(),), lambda said: ovs.parse_drained(text_of(said))
)
"""Whether the worker gets no VM, and which VMs were taken away from it."""

VSWITCHD_VERSION = Question(
    "ovs-vswitchd version",
    (command("ovs-appctl", "--timeout=5", "-t", "ovs-vswitchd", "version", time_limit_s=10),),
    lambda said: text_of(said).strip().partition("\n")[0],
)


def _taps(said: StepResult) -> Mapping[str, ip.Tap]:
    return ip.parse_taps(text_of(said))


TAPS = Question("TAPs", (command("tap_facts", most_bytes=FACT_BYTES),), _taps)


def _traffic(said: StepResult) -> Mapping[str, ip.Traffic]:
    return ip.parse_traffic(text_of(said))


TRAFFIC = Question("traffic", (ip.count_traffic(),), _traffic)


def _impaired(said: StepResult) -> Mapping[str, Impaired]:
    text = text_of(said)
    return {} if text.strip() == NO_VMS else tc.parse(text)


IMPAIRED = Question("what is impaired", (where_vms(tc.query()),), _impaired)
"""What delays or loses frames at TAPs, or slows them down."""

TRAFFIC_CONTROL: Question[tuple[str, ...]] = Question(
    "traffic control", (command("traffic_facts"),), lambda said: tuple(lines_of(said))
)
"""Which of "tc", "netem", "tbf" and "ifb" the worker lacks."""


def _listening(said: StepResult) -> Iterable[Screen]:
    """From `ss -Hltn`: the local address is the fourth column, as `*:22` where it has two families.

    One of an interface ends with its name, as in `127.0.0.53%lo:53`.
    """
    rows = (line.split() for line in text_of(said).split("\n"))
    found = (row[3].rpartition(":") for row in rows if len(row) > 3)
    return frozenset(
        Screen(address.strip("[]").partition("%")[0], int(port))
        for address, _, port in found
        if port.isdecimal()
    )


LISTENING = Question(
    "listening ports", (command("listening_facts", most_bytes=FACT_BYTES),), _listening
)
"""Where somebody listens."""


def in_the_way(listening: Iterable[Screen], listen: str | None) -> frozenset[int]:
    """The ports at which a VNC server that is to listen on this address could not."""
    wanted = display.wanted(listen, 0, vm="").listen
    return frozenset(one.port for one in listening if _same_place(one.listen, wanted))


def _same_place(taken: str, wanted: str) -> bool:
    """QEMU takes both families for "" and "::", and an IPv4 address written as IPv6 is one too."""
    if taken in ("*", wanted) or wanted in ("", "::") or wanted.startswith("::ffff:"):
        return True
    is_same_family = (":" in taken) == (":" in wanted)
    return is_same_family and bool({taken, wanted} & {"0.0.0.0", "::"})
