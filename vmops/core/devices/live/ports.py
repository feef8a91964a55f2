"""Places for cards that come while a VM runs. `pc` has a bus with room for them; `q35` takes cards
at root ports that it was started with, one each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from vmops.core.tools import qemu
from vmops.core.tools.monitor import Heard
from vmops.core.tools.qmp import Request

SPARE = 4
"""How many a q35 is started with. Each takes 4 of the 64 KiB that all devices have for I/O."""

_NAME = "spare"
_SLOT, _CHASSIS = "0x1c", 240
"""Cards without a place of their own begin at the lowest slot; a chassis is this machine's only."""

BUSES = Request("query-pci")
"""What `free` reads."""


class Room(NamedTuple):
    """What a running machine lets come and go: whether cards can be added and taken out, how many
    have a port that is free, None where none needs one, and which stay until it is started anew, by
    the names of what stands behind them."""

    adds: bool = False
    removes: bool = False
    free: int | None = None
    fixed: frozenset[str] = frozenset()

    def takes(self, before: int) -> bool:
        """True for a card that can be added when so many have been before."""
        return self.adds and not self.is_full(before)

    def is_full(self, before: int) -> bool:
        """True where no port is left for one more."""
        return self.free is not None and before >= self.free

    def wanted(self, words: str, before: int) -> str:
        """What is wanted of a card that is to be added, and why that takes a restart."""
        full = (
            f"{words}, and no root port is free: a restart gives it a place, and {SPARE} to spare"
        )
        return full if self.is_full(before) else words

    def lets_go(self, name: str) -> bool:
        """True for one that can be taken out."""
        return self.removes and name not in self.fixed


NO_ROOM = Room()


def needs(machine: str | None) -> bool:
    """True for a machine that takes cards at root ports alone."""
    return (machine or "pc").startswith(("q35", "pc-q35"))


def words(machine: str | None, number: int) -> tuple[str, ...]:
    """The root ports: functions of one device."""
    ports = range(number if needs(machine) else 0)
    return tuple(word for at in ports for word in ("-device", _port(at)))


def _port(at: int) -> str:
    several = ",multifunction=on" if at == 0 else ""
    place = f"bus=pcie.0,chassis={_CHASSIS + at},addr={_SLOT}.{at}"
    return f"pcie-root-port,id={_NAME}{at},{place}{several}"


def of(argv: Sequence[str]) -> int:
    """How many of these a command line has: memory fits a machine with as many."""
    return len(_names(argv))


def _names(argv: Sequence[str]) -> tuple[str, ...]:
    devices = qemu.every(qemu.options(argv), "device")
    named = (device.get("id", "") for device in devices if device.get("") == "pcie-root-port")
    return tuple(name for name in named if name.removeprefix(_NAME).isdecimal())


def free(argv: Sequence[str], heard: Heard | None) -> tuple[str, ...]:
    """The ports without a card, as the monitor has told; none where it has not."""
    if heard is None:
        return ()
    try:
        told = {str(one["qdev_id"]): one["pci_bridge"] for one in _bridges(heard)}
        return tuple(n for n in _names(argv) if n in told and not told[n].get("devices"))
    except (KeyError, TypeError, AttributeError):
        return ()


def _bridges(heard: Heard) -> Iterator[dict[str, Any]]:
    for answer in heard.answers:
        if isinstance(answer, list) and answer and all("bus" in entry for entry in answer):
            for bus in answer:
                yield from (one for one in bus["devices"] if "pci_bridge" in one)


def at(port: str) -> dict[str, str]:
    """What a card is told besides, to be put there. A port with a card refuses one more by that
    address; it would take one without, which no guest sees."""
    return {"bus": port, "addr": "0"} if port else {}
