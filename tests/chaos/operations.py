"""The table of operations: a new one enters the sweep and the soak by a line here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .states import File, OfThings, State

ONE = ("web1",)
ALL = ("web1", "web2", "web3")
DEAF = ("deaf1",)
DISK = ("disk1",)
PLUG = ("plug1",)
DISKS = ("disk2",)
SEEDED = ("seed1",)
GUESTS = ("net1",)
OVER = ("over1",)
TALKING = ("agent1",)
SENT, FETCHED = ("sent",), ("fetched",)
NETWORKS = ("blue", "red", "uplink")
"""Two networks, and what there is of the node's own for their way out."""
OVERLAY = ("over", "side", "router")
"""Two networks of OVN, and what they share there."""
FOLLOWING = ("following",)
"""That the worker follows OVN's central."""
SLOW = ("--rate-mbit", "5", "--impaired", "in")
"""What a lab's switch lets a line be."""
MESH = ("mesh", "mesh there")
"""The tunnels of either worker."""
DRAIN = ("drain there",)
"""That the second worker is drained: the first has somebody else's VM, which stays."""


@dataclass(frozen=True)
class Operation:
    """Words that an operator types, from one state of these VMs to another.

    With the file `changed` hosts.toml gives web1's first interface another VLAN than the one it
    started with, disk1 a larger disk and plug1 a further one; `changed-networks` has other services
    for blue and red, `changed-ovn` for over and side. With `same_qemu`, a QEMU that ran before is
    the one that runs after. `once` is that the words are refused where they have been carried out.
    `things` are what beside VMs goes from the state `had` to `has`. `cut_there` is that the
    connection to the second worker is the one that is cut. `known` is a part of the text of a
    violation that is known and not mended yet: it is reported, and fails no sample.
    """

    name: str
    words: tuple[str, ...]
    start: State = "gone"
    end: State = "gone"
    vms: tuple[str, ...] = ONE
    file: File = "hosts"
    same_qemu: bool = False
    once: bool = False
    things: tuple[str, ...] = ()
    had: OfThings = "down"
    has: OfThings = "down"
    cut_there: bool = False
    known: str = ""

    @property
    def changed(self) -> bool:
        """Its hosts.toml is not the one by which the state before was made."""
        return self.file.startswith("changed")

    @property
    def overlaid(self) -> bool:
        """It needs OVN on its worker."""
        return self.file in ("ovn", "changed-ovn")

    @property
    def moves(self) -> bool:
        """Its VM goes from one worker to another."""
        return self.file in ("pair", "shared")

    @property
    def shares(self) -> bool:
        """Its two workers have one folder for the disks of VMs."""
        return self.file == "shared"

    @property
    def paired(self) -> bool:
        """It has two workers."""
        return self.moves or self.file == "mesh"

    @property
    def keeps_memory(self) -> bool:
        """What its VM has in memory is there after it, and after every cut of it."""
        live = self.moves and "--cold" not in self.words
        return live or self.file == "agents" or "suspended" in (self.start, self.end)

    @property
    def asks_status(self) -> bool:
        """What it changes cannot be seen from outside of QEMU: `status` has to tell."""
        return "paused" in (self.start, self.end)

    @property
    def asks(self) -> tuple[str, ...]:
        """The words of what tells how its VMs, its networks, or its image, are."""
        names = ",".join(self.vms)
        if self.of_image:
            return ("image.list", "--image", names, "--format", "json")
        found = ("status", "--vm", names, "--format", "json") if self.vms else ()
        asked = self.things in (NETWORKS, MESH, OVERLAY)
        nets = ("net.status", "--format", "json") if asked else ()
        return (*found, *nets)

    @property
    def of_image(self) -> bool:
        """What it changes is an image on the worker."""
        return self.end in ("absent", "whole")


def _disk1(task: str, *more: str) -> tuple[str, ...]:
    return (task, "--vm", "disk1", *more)


def _move(to: str) -> tuple[str, ...]:
    return _disk1("migrate", "--cold", "--force", "--to", to)


def _live(to: str, *more: str) -> tuple[str, ...]:
    return _disk1("migrate", "--to", to, *more)


def _agent1(task: str, *more: str) -> tuple[str, ...]:
    return (task, "--vm", "agent1", *more)


def _web1(task: str, *more: str) -> tuple[str, ...]:
    return (task, "--vm", "web1", *more)


def _web1_eth1(task: str, *more: str) -> tuple[str, ...]:
    return (task, "--vm", "web1:eth1", *more)


def _at_both(operation: Operation) -> tuple[Operation, Operation]:
    """The same with the connection to either of its workers cut."""
    return operation, replace(operation, name=f"{operation.name}-there", cut_there=True)


def _overlaid(
    name: str,
    *words: str,
    start: State = "gone",
    end: State = "gone",
    had: OfThings = "served",
    has: OfThings = "served",
) -> Operation:
    """One on the VM over1, in networks of OVN."""
    operation = Operation(name, words, start, end, OVER, file="ovn")
    return replace(operation, things=OVERLAY, had=had, has=has)


def _overlay(name: str, *words: str, had: OfThings, has: OfThings) -> Operation:
    """One on networks of OVN, or on what makes a worker follow its central."""
    things = FOLLOWING if words == ("ovn.setup",) else OVERLAY
    file: File = "changed-ovn" if had == has else "ovn"
    return Operation(name, words, vms=(), file=file, things=things, had=had, has=has)


def _drained(prefix: str, *how: str) -> tuple[Operation, Operation]:
    """That the second worker is drained, and opened again."""
    drain = Operation(
        *(f"{prefix}drain", ("drain", *how, "--worker", "{there}"), "away", "returned", DISK),
        file="pair",
        things=DRAIN,
        had="open",
        has="drained",
        cut_there=True,
    )
    undrain = Operation(
        *(f"{prefix}undrain", ("undrain", *how, "--worker", "{there}"), "returned", "moved", DISK),
        file="pair",
        things=DRAIN,
        had="drained",
        has="open",
        cut_there=True,
    )
    return drain, undrain


OPERATIONS = (
    Operation("launch", _web1("launch"), "gone", "running"),
    Operation("launch-strict", _web1("launch", "--strict"), "gone", "running"),
    Operation("launch-three", ("launch", "--vm", "web*"), "gone", "running", ALL),
    Operation("launch-crashed", _web1("launch"), "crashed", "running"),
    Operation("launch-rebooted", _web1("launch"), "rebooted", "running"),
    Operation("launch-other-vlan", _web1("launch"), "rebooted", "running", file="changed"),
    Operation("launch-plugged", _web1("launch"), "plugged", "running"),
    Operation(
        *("replug", _web1("launch"), "running", "running"),
        file="changed",
        same_qemu=True,
    ),
    Operation("plug", _web1("plug"), "gone", "plugged"),
    Operation("plug-changed", _web1("plug"), "plugged", "plugged", file="changed"),
    Operation("unplug", _web1("unplug"), "plugged", "gone"),
    Operation("boot", _web1("boot"), "plugged", "running"),
    Operation("stop", _web1("stop", "--timeout", "3"), "running", "gone"),
    Operation(
        *("stop-deaf", ("stop", "--vm", "deaf1", "--timeout", "1"), "running", "gone", DEAF),
    ),
    Operation("stop-force", _web1("stop", "--force"), "running", "gone"),
    Operation("stop-crashed", _web1("stop"), "crashed", "gone"),
    Operation("restart", _web1("restart", "--timeout", "3"), "running", "running"),
    Operation("restart-force", _web1("restart", "--force"), "running", "running"),
    Operation("up", ("up", "--vm", "web*"), "gone", "running", ALL),
    Operation(
        *("up-restart", ("up", "--vm", "plug1", "--restart"), "plugged", "running", PLUG),
    ),
    Operation("down", ("down", "--vm", "web*", "--timeout", "3"), "running", "gone", ALL),
    Operation("prune", ("prune", "--yes"), "crashed", "gone"),
    Operation("prune-plugged", ("prune", "--yes"), "plugged", "gone"),
    Operation("pause", _web1("pause"), "running", "paused", same_qemu=True),
    Operation("resume", _web1("resume"), "paused", "running", same_qemu=True),
    Operation(
        *("snapshot", _web1("snapshot.save", "--name", "s1"), "running", "saved"),
        same_qemu=True,
        once=True,
    ),
    Operation(
        *("revert", _web1("snapshot.revert", "--name", "s1", "--yes"), "saved", "saved"),
        same_qemu=True,
    ),
    Operation(
        *("snapshot-delete", _web1("snapshot.delete", "--name", "s1"), "saved", "running"),
        same_qemu=True,
        once=True,
    ),
    Operation(
        *("freeze", _agent1("snapshot.save", "--name", "s1", "--freeze"), "running", "saved"),
        vms=TALKING,
        file="agents",
        same_qemu=True,
        once=True,
    ),
    Operation(
        *("revert-frozen", _agent1("snapshot.revert", "--name", "s1", "--yes"), "saved", "saved"),
        vms=TALKING,
        file="agents",
        same_qemu=True,
    ),
    Operation(
        *("thaw", _agent1("snapshot.thaw"), "frozen", "running"),
        vms=TALKING,
        file="agents",
        same_qemu=True,
    ),
    Operation("suspend", _web1("suspend"), "running", "suspended"),
    Operation("resume-suspended", _web1("resume"), "suspended", "running"),
    Operation("launch-suspended", _disk1("launch"), "suspended", "running", DISK),
    Operation("stop-paused", _web1("stop", "--timeout", "3"), "paused", "gone"),
    Operation(
        *("destroy-suspended", _disk1("destroy", "--yes", "--force"), "suspended", "gone", DISK),
    ),
    Operation("suspend-discard", _web1("suspend", "--discard"), "suspended", "gone"),
    Operation(
        *("link-down", _web1_eth1("nic.down"), "running", "unlinked"),
        same_qemu=True,
    ),
    Operation("link-up", _web1_eth1("nic.up"), "unlinked", "running", same_qemu=True),
    Operation(
        *("impair", _web1_eth1("net.impair", *SLOW), "running", "impaired"),
        same_qemu=True,
    ),
    Operation(
        *("impair-clear", _web1_eth1("net.impair", "--clear"), "impaired", "running"),
        same_qemu=True,
    ),
    Operation("reset", _web1("reset"), "running", "running", same_qemu=True),
    Operation("adopt", _web1("adopt"), "documented", "adopted", same_qemu=True),
    Operation("launch-disk", _disk1("launch"), "gone", "running", DISK),
    Operation("launch-supplied", _disk1("launch"), "absent", "running", DISK),
    Operation("grow-cold", _disk1("launch"), "kept", "running", DISK, file="changed"),
    Operation(
        *("grow-live", _disk1("launch"), "running", "running", DISK),
        file="changed",
        same_qemu=True,
    ),
    Operation(
        *("hotplug-disk", ("launch", "--vm", "plug1"), "running", "running", PLUG),
        file="changed",
        same_qemu=True,
    ),
    Operation("launch-seeded", ("launch", "--vm", "seed1"), "gone", "running", SEEDED),
    Operation(
        *("restart-seeded", ("restart", "--vm", "seed1", "--force"), "running", "running", SEEDED),
    ),
    Operation(
        *("stop-seeded", ("stop", "--vm", "seed1", "--timeout", "3"), "running", "gone", SEEDED),
    ),
    Operation("destroy", _disk1("destroy", "--yes", "--timeout", "3"), "running", "gone", DISK),
    Operation(
        *("destroy-disks", ("destroy", "--vm", "disk2", "--yes", "--force"), "running", "gone"),
        vms=DISKS,
    ),
    Operation("reset-disk", _disk1("reset-disk", "--yes"), "kept", "gone", DISK),
    Operation("image-push", ("image.push", "--image", "sent"), "absent", "whole", SENT),
    Operation(
        *("image-push-fan-out", ("image.push", "--image", "sent", "--fan-out"), "absent", "whole"),
        vms=SENT,
    ),
    Operation("image-push-on", ("image.push", "--image", "sent"), "partial", "whole", SENT),
    Operation("image-pull", ("image.pull", "--image", "fetched"), "absent", "whole", FETCHED),
    Operation(
        *("image-remove", ("image.remove", "--image", "sent", "--yes"), "whole", "absent", SENT),
    ),
    Operation(
        *("net-up", ("net.up",)),
        vms=(),
        file="networks",
        things=NETWORKS,
        has="served",
    ),
    Operation(
        *("net-change", ("net.up",)),
        vms=(),
        file="changed-networks",
        things=NETWORKS,
        had="served",
        has="served",
    ),
    Operation(
        *("net-down", ("net.down",)),
        vms=(),
        file="networks",
        things=NETWORKS,
        had="served",
    ),
    Operation(
        *("up-networks", ("up",), "gone", "running", GUESTS),
        file="networks",
        things=NETWORKS,
        has="served",
    ),
    Operation(
        *("up-changed-network", ("up",), "running", "running", GUESTS),
        file="changed-networks",
        same_qemu=True,
        things=NETWORKS,
        had="served",
        has="served",
    ),
    Operation(
        *("down-networks", ("down", "--timeout", "3"), "running", "gone", GUESTS),
        file="networks",
        things=NETWORKS,
        had="served",
    ),
    *_at_both(
        Operation("mesh-up", ("net.up",), vms=(), file="mesh", things=MESH, has="served"),
    ),
    Operation("mesh-down", ("net.down",), vms=(), file="mesh", things=MESH, had="served"),
    *_at_both(Operation("migrate", _move("{there}"), "running", "moved", DISK, file="pair")),
    *_at_both(
        Operation("shared-migrate", _move("{there}"), "running", "moved", DISK, file="shared"),
    ),
    *_at_both(
        Operation("shared-live", _live("{there}"), "running", "moved", DISK, file="shared"),
    ),
    Operation("shared-back", _move("{here}"), "moved", "returned", DISK, file="shared"),
    Operation("migrate-back", _move("{here}"), "moved", "returned", DISK, file="pair"),
    *_drained("", "--cold", "--force"),
    *_at_both(Operation("live", _live("{there}"), "running", "moved", DISK, file="pair")),
    *_at_both(
        Operation("direct", _live("{there}", "--direct"), "running", "moved", DISK, file="pair"),
    ),
    Operation("direct-back", _live("{here}", "--direct"), "moved", "returned", DISK, file="pair"),
    Operation("live-back", _live("{here}"), "moved", "returned", DISK, file="pair"),
    *_drained("live-"),
    *_drained("direct-", "--direct"),
    _overlay("ovn-setup", "ovn.setup", had="down", has="served"),
    _overlay("ovn-net-up", "net.up", had="down", has="served"),
    _overlay("ovn-net-change", "net.up", had="served", has="served"),
    _overlay("ovn-net-down", "net.down", had="served", has="down"),
    _overlaid("ovn-launch", "launch", "--vm", *OVER, end="running"),
    _overlaid("ovn-stop", "stop", "--vm", *OVER, "--timeout", "3", start="running"),
    _overlaid("ovn-restart", "restart", "--vm", *OVER, "--force", start="running", end="running"),
    _overlaid("ovn-up", "up", end="running", had="down"),
    _overlaid("ovn-down", "down", "--timeout", "3", start="running", has="down"),
)
