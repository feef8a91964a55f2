"""What OVN costs beside VLANs: VMs brought up, and many ports plugged at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from bench.machines import FIRST_VLAN
from bench.machines import fleet as fleet_of
from bench.place import Place
from bench.processes import Call, run
from bench.results import Results
from bench.single import Say
from bench.ways import vmops
from vmops.core.inventory.model import VM

WORKERS, EACH, PORTS_EACH = 2, 2, 10
VLAN, OVN, STANDING = "vlan", "ovn", "ovn, network there"
_NETWORK = """
[networks.bench]
engine = "ovn"
subnet = "192.168.0.0/24"
dhcp = true
"""
_COUNT = 'grep -c \'"_comment":"ovs-vsctl\' /var/lib/openvswitch/conf.db || :'
_COUNT_OF_CENTRAL = 'grep -c \'"_comment":"ovn-nbctl\' /var/lib/ovn/ovnnb_db.db || :'


def overlay(place: Place, rounds: int, *, say: Say) -> Results:
    """The same VMs in a VLAN and in a network of OVN, in turns, in a lab whose workers have OVN.

    A cold `fab up` makes the network; once more with the network there, as `down` with a selection
    leaves it. Then a cold `fab plug` of many VMs with one interface, and what it writes.
    """
    workers = place.grow(WORKERS)
    few = _files(place, fleet_of(workers, each=EACH, interfaces=1))
    run(_fab(place, few[OVN], "ovn.setup"))
    took: dict[str, list[float]] = {VLAN: [], OVN: [], STANDING: []}
    for number in range(rounds + 1):  # the first is a warm-up
        say(f"four VMs up in a VLAN and in OVN; round {number} of {rounds}")
        for name, seconds in took.items():
            file = few[VLAN if name == VLAN else OVN]
            if name == STANDING:
                run(_fab(place, file, "net.up"))
            begun = time.monotonic()
            run(_fab(place, file, "up"))
            seconds.append(time.monotonic() - begun)
            run(_fab(place, file, "down", "--force"))
    many = _files(place, fleet_of(workers, each=PORTS_EACH, interfaces=1))
    run(_fab(place, many[OVN], "net.up"))
    plugged: dict[str, list[float]] = {VLAN: [], OVN: []}
    written: dict[str, tuple[int, int]] = {}
    for number in range(rounds + 1):
        say(f"twenty ports plugged; round {number} of {rounds}")
        for name, seconds in plugged.items():
            before = _written(place, workers)
            begun = time.monotonic()
            run(_fab(place, many[name], "plug", "--vm", "*"))
            seconds.append(time.monotonic() - begun)
            after = _written(place, workers)
            written[name] = (after[0] - before[0], after[1] - before[1])
            run(_fab(place, many[name], "unplug", "--vm", "*"))
    run(_fab(place, many[OVN], "net.down"))
    up = {name: seconds[1:] for name, seconds in took.items()}
    plug = {name: seconds[1:] for name, seconds in plugged.items()}
    return {
        "up": [
            {
                "vms": WORKERS * EACH,
                "workers": WORKERS,
                **{name: round(median(seconds), 4) for name, seconds in up.items()},
                "more": _more(up[OVN], up[VLAN]),
                "more_there": _more(up[STANDING], up[VLAN]),
            }
        ],
        "plug": [
            {
                "ports": WORKERS * PORTS_EACH,
                "workers": WORKERS,
                **{name: round(median(seconds), 4) for name, seconds in plug.items()},
                "more": _more(plug[OVN], plug[VLAN]),
                "written_vlan": written[VLAN][0],
                "written_ovn": written[OVN][0],
                "written_central": written[OVN][1],
            }
        ],
    }


def _more(one: Sequence[float], other: Sequence[float]) -> float:
    """The median of what one took more than the other in the same round."""
    return round(median(a - b for a, b in zip(one, other, strict=True)), 4)


def _written(place: Place, workers: Sequence[str]) -> tuple[int, int]:
    """The transactions that tools have written: into the switches of all, and into the central."""
    switches = sum(int(place.inside(each, ["sh", "-c", _COUNT])) for each in workers)
    return switches, int(place.inside(workers[0], ["sh", "-c", _COUNT_OF_CENTRAL]))


def _files(place: Place, vms: Sequence[VM]) -> dict[str, Path]:
    """A hosts.toml with these VMs in a VLAN, and one with them in a network of OVN."""
    place.prepare(vms)
    text = place.inventory.read_text()
    moved = text.replace(f"vlan_id = {FIRST_VLAN}", 'network = "bench"')
    head, begin, rest = moved.partition("\n[vms.")
    found = {VLAN: place.directory / "vlan.toml", OVN: place.directory / "ovn.toml"}
    found[VLAN].write_text(text)
    found[OVN].write_text(f"{head}\n{_NETWORK}{begin}{rest}")
    return found


def _fab(place: Place, file: Path, *words: str) -> Call:
    call = vmops.fab(place, *words)
    return replace(call, environment={**call.environment, "VMOPS_HOSTS": str(file)})
