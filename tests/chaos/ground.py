"""One worker to try things on: the VMs that are operated on, and strangers to leave alone."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from tests.guests import PowerButton, boot_sector_image, cache_directory
from vmops.lab import Lab, WorkerStatus

from .agents import TalkingGuest
from .lay import Lay
from .operations import FOLLOWING, Operation
from .outside import FROZEN, SILENT, Look, both, differences, doubled, is_same, look, there_of
from .preparing import IMAGE_BYTES, first_file, made_image, tasks
from .shell import (
    BRING,
    DOCUMENTED,
    FOLDER,
    FORGET,
    PRISTINE,
    STRANGERS,
    WIPE,
    WIPE_NETWORKS,
)
from .states import File, State
from .tags import TagWatch
from .targets import (
    EVERY,
    NEIGHBOUR,
    PLAIN,
    TARGETS,
    WEB_PORT,
    Target,
    contents,
    hosts_toml,
    mesh_toml,
    overlaid,
    sharing,
)
from .waiting import Hung, await_it

ROOT = Path(__file__).parents[2]
FAB = str(Path(sys.executable).parent / "fab")
HANG_S = 120.0
"""No command may take longer, whatever becomes of the network."""
SETTLE_S = 60.0
"""So long a worker may go on after its operator has left."""


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    began: float
    seconds: float

    def __str__(self) -> str:
        return f"fab {' '.join(self.words)}: exit {self.code}; {self.out}{self.err}".strip()


class Command:
    """A `fab` that runs."""

    def __init__(self, ground: Ground, words: Sequence[str], *, file: File = "hosts") -> None:
        places = {"{here}": ground.worker, "{there}": ground.peer}
        self.words = tuple(places.get(word, word) for word in words)
        self.began = time.monotonic()
        self._files = [ground.fresh_file() for _ in range(2)]
        inventory = ground.files[file]
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self.process = subprocess.Popen(
                [FAB, *self.words],
                cwd=ROOT,
                env={**os.environ, "VMOPS_HOSTS": str(inventory), "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def runs_at(self, moment: float) -> bool:
        """Wait until so many seconds after its start; False when it has ended before."""
        try:
            self.process.wait(max(0.0, self.began + moment - time.monotonic()))
        except subprocess.TimeoutExpired:
            return True
        return False

    def end(self) -> Said:
        """Wait for its end. Raises Hung, and kills it, when that takes too long."""
        try:
            code = self.process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Hung(f"hang: fab {' '.join(self.words)} took over {HANG_S:.0f} s") from None
        out, err = (file.read_text(errors="replace") for file in self._files)
        for file in self._files:
            file.unlink()
        return Said(self.words, code, out, err, self.began, time.monotonic() - self.began)


class Ground:
    """A worker of a lab, for one user at a time. `fresh` makes it; `end` stops listening to it.

    `peer` is a second one, which has nobody else's either: VMs are moved there and back.
    """

    def __init__(self, lab: Lab, worker: str, folder: Path, *, peer: str = "") -> None:
        self.lab = lab
        self.worker = worker
        self.peer = peer
        self.folder = folder
        names: tuple[File, ...] = get_args(File)
        self.files: dict[File, Path] = {name: folder / f"{name}.toml" for name in names}
        self.images = tuple(made_image(folder, name) for name in ("sent", "fetched"))
        self.baseline: Look
        self._laid: Look | None = None
        self._lay = Lay(lab, worker, peer)
        self._talking = TalkingGuest(self)
        self._is_pair = False
        self._files = itertools.count()
        self._build()
        self.tags = TagWatch(lab, worker)
        self._is_pair = bool(peer)
        self.baseline = self.look()
        self._is_pair = False

    def end(self) -> None:
        """Stop listening, and leave nothing beside the lab."""
        self._lay.forget()
        self.tags.end()

    def fresh_file(self) -> Path:
        """A name that no command has used yet."""
        return self.folder / f"said{next(self._files)}"

    def fab(self, *words: str, file: File = "hosts") -> Said:
        """Run a command to its end. Raises Hung."""
        return Command(self, words, file=file).end()

    def cut_at(self, operation: Operation) -> str:
        """The worker whose connection is cut."""
        return self.peer if operation.cut_there else self.worker

    def status(self, worker: str = "") -> WorkerStatus:
        """What the worker's relay has counted, and its fault."""
        return next(w for w in self.lab.status().workers if w.name == (worker or self.worker))

    def heal(self) -> None:
        """Take the faults of the network away."""
        for worker in (self.worker, self.peer)[: 1 + self._is_pair]:
            self.lab.heal(worker)

    def look(self) -> Look:
        """The worker as it is; both, while they are used."""
        images = (*self.images, *self._talking.images)
        here = look(self.lab, self.worker, EVERY, images)
        if not self._is_pair:
            return here
        return both(here, look(self.lab, self.peer, EVERY, images), worker=self.peer)

    def touched(self, seen: Look) -> list[str]:
        """A line for everything that is not as it was, and belongs to no target."""
        before = (self._laid or self.baseline).others
        if not self._is_pair:
            before = {k: v for k, v in before.items() if not k.endswith(f" on {self.peer}")}
        return differences(before, seen.others)

    def settled(self, *, sessions: bool = True) -> tuple[Look, list[str]]:
        """The worker when it has come to rest, with a line for each reason why it has not.

        Without `sessions` it may keep SSH sessions open, and what waits in them; what is there has
        to stay as it is for a moment, then.
        """
        seen = [self.look()]

        def is_so() -> bool:
            seen.append(self.look())
            calm = not self._unrest(seen[-1], sessions=sessions)
            return calm and (sessions or is_same(seen[-1], seen[-2]))

        if not sessions or self._unrest(seen[0], sessions=True):
            try:
                await_it(is_so, "no rest", seconds=SETTLE_S, every=0.1 if sessions else 0.5)
            except Hung:
                return seen[-1], self._unrest(seen[-1], sessions=sessions)
        return seen[-1], []

    def _unrest(self, seen: Look, *, sessions: bool) -> list[str]:
        lines = [f"lock held: {path}" for path in seen.flocks]
        for target in EVERY:
            lines += doubled(seen, target)
            if len(self.may_start(seen, target)) > 1:
                lines.append(f"two workers may start {target.name}")
            if SILENT in seen.shapes[target.name].more:
                lines.append(f"the agent of {target.name} says nothing")
        for name in ("blue", "red"):
            if any(word.endswith(" dnsmasq") and word != "1 dnsmasq" for word in seen.things[name]):
                lines.append(f"several dnsmasq of {name}: {seen.things[name]}")
        touched = self.touched(seen)
        if sessions:
            lines += [f"{seen.sessions} SSH sessions are left"] if seen.sessions else []
        else:
            touched = [line for line in touched if not line.startswith("new: process")]
        return lines + [f"stranger touched: {line}" for line in touched]

    @staticmethod
    def may_start(seen: Look, target: Target) -> list[str]:
        """The workers that have a disk which was made for the VM, and no mark of a move."""
        shapes = {name: seen.shapes.get(name) for name in (target.name, there_of(target.name))}
        return [
            name
            for name, shape in shapes.items()
            if shape and shape.disk and not any(word.startswith("mark") for word in shape.more)
        ]

    def use_pair(self) -> None:
        """Look at the second worker too, from now on; both as a lab has them, whatever an operation
        before wanted."""
        self._is_pair = bool(self.peer)
        if self._laid is not None:
            self.wipe()

    def prepare(self, operation: Operation, *, sessions: bool = True) -> Look:
        """Bring an operation's VMs and things into the state before, all else to nothing.

        Without `sessions` those that are open may stay. Raises Hung, RuntimeError.
        """
        state, vms = operation.start, operation.vms
        self._is_pair = self._is_pair or operation.paired
        self.wipe()
        self._is_pair = operation.paired
        if self._lay.do(operation):
            self._take_as_laid()
        self._bring(state, vms)
        if operation.file == "agents":
            self._talking.bring()
        file = first_file(operation)
        if operation.overlaid and operation.things != FOLLOWING:
            self._prepare(state, ("ovn.setup",), file)
        if operation.had == "served":
            self._prepare(state, ("net.up",), file)
        select = ("--vm", ",".join(vms))
        for words in tasks(state, operation):
            whole = words if {"--vm", "--worker"} & {*words} else (*words, *select)
            self._prepare(state, whole, file)
        if state == "crashed":
            self._kill_qemus()
        if state == "kept":
            self._kill_qemus()
            self._remove_remains()
        if state == "frozen":
            self._talking.freeze()
        if state == "documented":
            self.lab.run(self.worker, ("sh", "-c", DOCUMENTED))
        if state == "rebooted":
            taps = [tap for target in EVERY if target.name in vms for tap in target.taps]
            self.lab.run(self.worker, ("sh", "-c", FORGET, "sh", *taps))
        seen, unrest = self.settled(sessions=sessions)
        if state == "frozen" and not any(FROZEN in seen.shapes[name].more for name in vms):
            unrest.append("its guest is not")
        if unrest:
            raise RuntimeError(f"cannot prepare {state}: {'; '.join(unrest)}")
        self.tags.take()
        return seen

    def _prepare(self, state: State, words: Sequence[str], file: File) -> None:
        said = self.fab(*words, file=file)
        if said.code != 0:
            raise RuntimeError(f"cannot prepare {state}: {said}")

    def _take_as_laid(self) -> None:
        """What is there now belongs to nobody's operation."""
        seen = self.look()
        # Not what a session that hangs has left.
        others = {k: v for k, v in seen.others.items() if not k.startswith("process ")}
        known = {k: v for k, v in self.baseline.others.items() if k.startswith("process ")}
        self._laid = replace(seen, others=others | known)

    @property
    def _used(self) -> tuple[str, ...]:
        return (self.worker, self.peer) if self._is_pair else (self.worker,)

    def wipe(self) -> None:
        """Remove every target past vmops: QEMUs, ports, TAPs, run directories, images, networks.

        Their own disks are as they were made then, without the snapshots of an operation before.
        """
        self._kill_qemus()
        self._remove_remains()
        self._lay.undo()
        self._laid = None
        disks = [f"{PRISTINE}/{target.image}" for target in PLAIN]
        restore = f'rm -f {FOLDER}/*; cp "$@" {FOLDER}/..'
        self.lab.run(self.worker, ("sh", "-c", restore, "sh", *disks))
        for worker in self._used:
            self.lab.run(worker, ("sh", "-c", WIPE_NETWORKS))
        if self._is_pair:
            self.lab.run(self.peer, ("sh", "-c", f"rm -f {FOLDER}/*"))

    def _remove_remains(self) -> None:
        taps = [tap for target in EVERY for tap in target.taps]
        for worker in self._used:
            self.lab.run(worker, ("sh", "-c", WIPE, "sh", *taps))

    def _bring(self, state: State, vms: Sequence[str]) -> None:
        """The image that is in that state; and whole, for a VM whose disk is made of it."""
        for image in self.images:
            mine = image.name in vms
            stands = image.file and {"disk1", "disk2"} & {*vms}
            if state == "absent" or not (mine or stands):
                continue
            part = mine and state == "partial"
            size = IMAGE_BYTES // 2 if part else IMAGE_BYTES
            name = f"{image.base.name}.part" if part else image.base.name
            mode = "0600" if part else "0400"
            words = ("sh", "-c", BRING, "sh", image.name, name, str(size), mode)
            self.lab.run(self.worker, words)

    def _kill_qemus(self) -> None:
        def none_left() -> bool:
            left = False
            for worker in self._used:
                found = look(self.lab, worker, EVERY, self.images).qemus.values()
                if pids := [str(pid) for each in found for pid, _ in each]:
                    self.lab.run(worker, ("kill", "-9", *pids), check=False)
                    left = True
            return not left

        await_it(none_left, "a QEMU that does not die", seconds=HANG_S)

    def _build(self) -> None:
        """Inventories, disks, and the strangers."""
        inventory = self.lab.inventory.read_text()
        neighbour = self.folder / "neighbour.toml"
        for name, parts in contents(self.images).items():
            workers = (self.worker, self.peer) if name == "pair" and self.peer else (self.worker,)
            text = hosts_toml(inventory, parts, *workers)
            self.files[name].write_text(overlaid(text, self.worker) if "ovn" in name else text)
        if self.peer:
            web2, web3 = (target for target in TARGETS if target.name in ("web2", "web3"))
            text = mesh_toml(inventory, (web2, web3), self.worker, self.peer)
            self.files["mesh"].write_text(text)
            self.files["shared"].write_text(sharing(self.files["pair"].read_text()))
        neighbour.write_text(hosts_toml(inventory, [NEIGHBOUR], self.worker))
        make = f"mkdir -p {PRISTINE}; install -d -m 0700 -o ubuntu -g ubuntu {FOLDER}"
        for worker in (self.worker, self.peer)[: 1 + bool(self.peer)]:
            self.lab.run(worker, ("sh", "-c", make))
        for target in (*PLAIN, NEIGHBOUR):
            self._make_disk(target)
        for image in self.images:
            data = (self.folder / image.name).read_bytes()
            self.lab.run(self.worker, ("sh", "-c", f"cat >{PRISTINE}/{image.name}"), stdin=data)
        said = subprocess.run(
            [FAB, "launch", "--vm", NEIGHBOUR.name],
            cwd=ROOT,
            env={**os.environ, "VMOPS_HOSTS": str(neighbour)},
            check=False,
            capture_output=True,
            text=True,
        )
        if said.returncode != 0:
            raise RuntimeError(f"cannot launch the neighbour: {said.stderr}")
        self.lab.run(self.worker, ("bash", "-c", STRANGERS, "bash", str(WEB_PORT)))

    def _make_disk(self, target: Target) -> None:
        button = PowerButton.DEAF if target.deaf else PowerButton.ONCE
        data = boot_sector_image(cache_directory(), button).read_bytes()
        path, kept = f"/home/ubuntu/vm_images/{target.image}", f"{PRISTINE}/{target.image}"
        write = f"cat >{kept} && cp {kept} {path} && chown ubuntu:ubuntu {path}"
        self.lab.run(self.worker, ("sh", "-c", write), stdin=data)
