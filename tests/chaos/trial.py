"""One operation, cut once: what was to be seen then, and what of it must never be."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .cuts import SIGNALS, Cut, Extent
from .ground import Command, Ground, Hung, Said
from .operations import OPERATIONS, Operation, State
from .outside import Look, Shape
from .targets import CHANGED, TARGETS, Target

Outcome = str
"""`before`, `after`, or `between`: neither, and then `status` must have told the truth."""


@dataclass
class Trial:
    """What came of a cut. `reached` is False where the command had ended before.

    `seconds` is for the whole trial, `command_s` for the command that was cut, `commit` what was
    checked out then.
    """

    operation: str
    cut: str
    commit: str = ""
    reached: bool = True
    outcome: Outcome = "?"
    code: int | None = None
    seconds: float = 0.0
    command_s: float = 0.0
    violations: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def unknown(self) -> list[str]:
        """The violations that the table does not know of."""
        known = {operation.name: operation.known for operation in OPERATIONS}[self.operation]
        return [line for line in self.violations if not known or known not in line]

    @property
    def repeat(self) -> str:
        """The command that does it again."""
        return f"scripts/chaos --repeat {self.operation}@{self.cut}"


@dataclass(frozen=True)
class Undisturbed:
    """An operation that nobody cut."""

    extent: Extent
    before: Look
    after: Look


def wanted_targets(operation: Operation) -> dict[str, Target]:
    """The operation's VMs as its hosts.toml has them."""
    every = CHANGED if operation.changed else TARGETS
    return {target.name: target for target in every if target.name in operation.vms}


def is_as_wanted(shape: Shape, target: Target, state: State) -> bool:
    """The VM is whole in that state, as far as can be seen from outside."""
    if state == "gone":
        return shape.is_nothing
    if target.disk_gb and shape.disk != str(target.disk_gb):
        return False
    if shape.further != tuple((target.file_of(name), shape.qemus > 0) for name in target.further):
        return False
    plugged = all(
        nic.has_port and nic.has_tap and nic.tag == target.taps[nic.tap] for nic in shape.nics
    )
    if state == "adopted" and not shape.directory:
        return False
    if state in ("running", "paused", "adopted"):
        return plugged and shape.qemus == 1 and all(nic.is_up for nic in shape.nics)
    return plugged and shape.qemus == 0


def measure(ground: Ground, operation: Operation) -> Undisturbed:
    """Run an operation undisturbed. Raises RuntimeError when it does not do what the table says."""
    before = ground.prepare(operation.start, operation.vms)
    counted = ground.status()
    said = ground.fab(*operation.words, changed=operation.changed)
    after, unrest = ground.settled()
    moved = ground.status()
    wrong = _not_as_wanted(after, operation) + unrest
    if said.code != 0 or wrong:
        raise RuntimeError(f"undisturbed, {operation.name} fails: {said}; {'; '.join(wrong)}")
    extent = Extent(
        operator=moved.bytes_to_operator - counted.bytes_to_operator,
        worker=moved.bytes_to_worker - counted.bytes_to_worker,
        time=said.seconds,
    )
    return Undisturbed(extent, before, after)


def _not_as_wanted(seen: Look, operation: Operation) -> list[str]:
    targets = wanted_targets(operation)
    if operation.of_image:
        (name,) = operation.vms
        found = seen.shapes[name].disk
        return [] if found == operation.end else [f"{name} is {found}, not {operation.end}"]
    return [
        f"{name} is not {operation.end}: {seen.shapes[name]}"
        for name in operation.vms
        if not is_as_wanted(seen.shapes[name], targets[name], operation.end)
    ]


def run_trial(ground: Ground, operation: Operation, cut: Cut, whole: Undisturbed) -> Trial:
    """Cut an operation and judge what is left. A violation is told in the trial, never raised."""
    trial = Trial(operation.name, str(cut))
    began = time.monotonic()
    try:
        _run(ground, operation, cut, whole, trial)
    except (Hung, RuntimeError) as error:
        trial.violations.append(str(error))
    ground.lab.heal(ground.worker)
    trial.seconds = round(time.monotonic() - began, 2)
    return trial


def _run(ground: Ground, operation: Operation, cut: Cut, whole: Undisturbed, trial: Trial) -> None:
    before = ground.prepare(operation.start, operation.vms)
    said, trial.reached = _cut(ground, operation, cut)
    trial.code = said.code
    trial.command_s = round(said.seconds, 2)
    trial.said.append(str(said))
    stranded = cut.lab_fault == "strand" and trial.reached
    if not stranded:
        ground.lab.heal(ground.worker)
    seen, unrest = ground.settled(sessions=not stranded)
    judge = _Judge(ground, operation, trial, sessions=not stranded)
    trial.violations += unrest
    judge.command(said, cut)
    judge.state(before, seen, whole)
    judge.complete(before)
    if stranded:
        judge.late(cut)
    targets = [*TARGETS, *(TARGETS[0].moved() for _ in range(operation.changed))]
    trial.violations += ground.tags.wrong(targets)


def _cut(ground: Ground, operation: Operation, cut: Cut) -> tuple[Said, bool]:
    """How the command ended, and whether the cut came before that."""
    fault, at_once = cut.lab_fault, cut.gauge != "time"
    if fault and at_once:
        ground.lab.fault(ground.worker, fault, after_bytes=int(cut.at), toward=cut.gauge)
    command = Command(ground, operation.words, changed=operation.changed)
    reached = True
    if not at_once:
        reached = command.runs_at(cut.at)
        if reached and fault:
            ground.lab.fault(ground.worker, fault)
        elif reached:
            command.process.send_signal(SIGNALS[cut.kind])
    said = command.end()
    return said, ground.status().fault == fault if fault and at_once else reached


class _Judge:
    """Looks for violations, and writes them into the trial."""

    def __init__(
        self, ground: Ground, operation: Operation, trial: Trial, *, sessions: bool
    ) -> None:
        self.ground = ground
        self.operation = operation
        self.trial = trial
        self.sessions = sessions
        self.targets = wanted_targets(operation)

    def blame(self, line: str) -> None:
        self.trial.violations.append(line)

    def command(self, said: Said, cut: Cut) -> None:
        """It ends with a code that the contract knows and a word about the worker; no traceback."""
        if "Traceback" in said.err and not before_our_code(said.err):
            self.blame("traceback")
        if cut.kind in SIGNALS and self.trial.reached:
            allowed = {0, 1, 130, -SIGNALS[cut.kind]}
        else:
            allowed = {0, 1, 3}
            if said.code != 0 and self.ground.worker not in said.out + said.err:
                self.blame("its error does not name the worker")
        if said.code not in allowed:
            self.blame(f"exit {said.code}")
        if not self.trial.reached and said.code != 0:
            self.blame(f"exit {said.code}, and it was not cut")

    def state(self, before: Look, seen: Look, whole: Undisturbed) -> None:
        """Before, after, or something that `status` names; and exit 0 only where it is after."""
        word = self._status_words() if self.operation.asks_status else None
        after = self._equal(seen, whole.after) and word in (None, self.operation.end)
        if after:
            self.trial.outcome = "after"
        elif self._equal(seen, before) and word in (None, self.operation.start):
            self.trial.outcome = "before"
        else:
            self.trial.outcome = "between"
            self._truthful()
        if self.trial.code == 0 and not after:
            self.blame(f"exit 0, but {self._told(seen)}{f', status: {word}' if word else ''}")
        for name in self.operation.vms:
            if "damaged" in seen.shapes[name].disk:
                self.blame(f"{name} is damaged")
        if self.operation.same_qemu:
            self._runs_on(before, seen)

    def _runs_on(self, before: Look, seen: Look) -> None:
        """What runs on keeps its process, and its network too."""
        if seen.qemus != before.qemus:
            self.blame(f"another QEMU: {before.qemus} became {seen.qemus}")
        for name in self.operation.vms:
            for nic in seen.shapes[name].nics:
                if not (nic.has_tap and nic.has_port and nic.is_up):
                    self.blame(f"{name} runs on and has lost its network: {nic}")

    def _equal(self, seen: Look, other: Look) -> bool:
        return all(seen.shapes[name] == other.shapes[name] for name in self.operation.vms)

    def _told(self, seen: Look) -> str:
        return "; ".join(f"{name}: {seen.shapes[name]}" for name in self.operation.vms)

    def _status(self) -> list[dict[str, Any]]:
        said = self.ground.fab(*self.operation.asks, changed=self.operation.changed)
        found = read_status(said)
        if not found:
            self.blame(f"status cannot be read: {said}")
        return found

    def _status_words(self) -> str:
        words = {str(entry["state"]) for entry in self._status()}
        return words.pop() if len(words) == 1 else " and ".join(sorted(words))

    def _truthful(self) -> None:
        """Status tells of what is there. It may have removed what a guest's end has left."""
        if self.operation.of_image:
            self._truthful_of_image()
            return
        entries = {str(entry["vm"]): entry for entry in self._status()}
        seen, _unrest = self.ground.settled(sessions=self.sessions)
        for name, target in self.targets.items():
            shape, entry = seen.shapes[name], entries.get(name)
            if entry is None:
                self.blame(f"status does not tell of {name}")
                continue
            self.trial.said.append(f"status: {_brief(entry)}")
            for line in untruths(entry, shape, target):
                self.blame(f"status of {name}: {line}, but there is {shape}")

    def _truthful_of_image(self) -> None:
        (name,) = self.operation.vms
        said, found = self._status_words(), self.ground.look().shapes[name].disk
        if said != found:
            self.blame(f"image.list says {said}, but it is {found}")

    def complete(self, before: Look) -> None:
        """The same command completes."""
        words = (*self.operation.words, *self.operation.asks)
        said = self.ground.fab(*words, changed=self.operation.changed)
        self.trial.said.append(f"again: exit {said.code}; {said.err}")
        seen, unrest = self.ground.settled(sessions=self.sessions)
        self.trial.violations += unrest
        if said.code != 0:
            self.blame(f"the same command again: exit {said.code}")
        if "Traceback" in said.err:
            self.blame("the same command again: traceback")
        for line in _not_as_wanted(seen, self.operation):
            self.blame(f"after the same command again {line}")
        if self.operation.same_qemu and seen.qemus != before.qemus:
            self.blame(f"again, another QEMU: {before.qemus} became {seen.qemus}")
        if said.code == 0:
            self._clean_status(said)

    def _clean_status(self, said: Said) -> None:
        entries = read_status(said)
        end = self.operation.end
        state = {"gone": "stopped", "plugged": "stopped", "adopted": "running"}.get(end, end)
        for entry in entries:
            # What was adopted runs as somebody else has started it, and that is said.
            drift = end != "adopted" and entry.get("drift")
            if entry["state"] != state or drift or entry["error"]:
                self.blame(f"after the same command again status says {_brief(entry)}")
        if len(entries) != len(self.operation.vms):
            self.blame(f"after the same command again status tells of {len(entries)} VMs")

    def late(self, cut: Cut) -> None:
        """What an old session still had to say changes nothing any more."""
        operation = self.operation
        if cut.kind == "late":
            wanted = self.ground.prepare(operation.start, operation.vms, sessions=False)
        else:
            wanted = self.ground.look()
        self.ground.lab.heal(self.ground.worker)
        seen, unrest = self.ground.settled()
        self.trial.violations += [f"late: {line}" for line in unrest]
        for name in operation.vms:
            if operation.of_image and seen.shapes[name].disk == "partial":
                continue  # what a transfer that came late has left: the next one goes on with it
            if seen.shapes[name] != wanted.shapes[name] or seen.qemus[name] != wanted.qemus[name]:
                self.blame(
                    f"a late session changed {name}: {wanted.shapes[name]} {wanted.qemus[name]}"
                    f" became {seen.shapes[name]} {seen.qemus[name]}"
                )


def read_status(said: Said) -> list[dict[str, Any]]:
    """What `status --format json` printed, last in a chain; empty when it cannot be read."""
    start = said.out.find("[\n")
    try:
        found: list[dict[str, Any]] = json.loads(said.out[start:]) if start >= 0 else []
    except ValueError:
        return []
    return found


def before_our_code(text: str) -> bool:
    """An interrupted import of stock fab's own: no line of ours has run by then."""
    lines = text.rstrip().splitlines()
    ours = [line for line in lines if "/vmops/" in line or "fabfile" in line]
    return lines[-1] == "KeyboardInterrupt" and not ours


def _brief(entry: Mapping[str, Any]) -> str:
    if "image" in entry:
        return f"{entry['image']} {entry['state']}, error {entry['error']}"
    nics = [f"{nic['tap']} plugged: {nic['plugged']}" for nic in entry["interfaces"]]
    more = f"drift {entry['drift']}, error {entry['error']}"
    return f"{entry['vm']} {entry['state']}, {', '.join(nics)}, {more}"


def untruths(entry: Mapping[str, Any], shape: Shape, target: Target) -> Sequence[str]:
    """What `status` says of a VM that is not so, or what it does not say."""
    state, drift = entry["state"], entry["drift"]
    lines = []
    if (shape.qemus == 1) != (state in ("running", "paused")):
        lines.append(f"it says {state}")
    plugged = {nic["tap"]: nic["plugged"] for nic in entry["interfaces"]}
    for nic in shape.nics:
        right = nic.has_port and nic.has_tap and nic.tag == target.taps[nic.tap]
        right = right and (nic.is_up or shape.qemus == 0)
        if plugged.get(nic.tap) and not right and not drift:
            lines.append(f"it says that {nic.tap} is plugged, and no drift")
        if not plugged.get(nic.tap) and right:
            lines.append(f"it says that {nic.tap} is not plugged")
    # A run directory alone holds the logs of a guest that has powered itself off.
    left = shape.qemus == 0 and any(nic.has_tap or nic.has_port for nic in shape.nics)
    if left and state == "stopped" and not drift and not any(plugged.values()):
        lines.append("it says stopped, and nothing of what is left")
    return lines
