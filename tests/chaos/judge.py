"""What was to be seen after a cut, and what of it must never be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import overlay, things
from .cuts import SIGNALS, Cut, Extent
from .ground import Ground, Said
from .operations import FOLLOWING, MESH, NETWORKS, OPERATIONS, OVERLAY, Operation
from .outside import CAME, FROZEN, Look, Shape, is_still, there_of
from .targets import NETS, OVER_NETS, Target
from .things import MESH_NAME
from .wanted import RUNS, not_as_wanted, wanted_targets

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


class Judge:
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
            if said.code != 0 and self.ground.cut_at(self.operation) not in said.out + said.err:
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
            self._truthful(whole)
        if self.trial.code == 0 and not after:
            self.blame(f"exit 0, but {self._told(seen)}{f', status: {word}' if word else ''}")
        for name in self.operation.vms:
            if "damaged" in seen.shapes[name].disk:
                self.blame(f"{name} is damaged")
        self.thaws(before, seen)
        if self.operation.same_qemu:
            self._runs_on(before, seen)
        if self.operation.keeps_memory:
            self.remembers(before, seen)

    def thaws(self, before: Look, seen: Look) -> None:
        """No guest is left frozen that was not so before."""
        for name in self._names:
            was = FROZEN in before.shapes[name].more
            if FROZEN in seen.shapes[name].more and not was:
                self.blame(f"{name} is left frozen")

    def remembers(self, before: Look, seen: Look) -> None:
        """What runs is what ran before, or has had its memory from that, or out of a file."""
        for name in self._names:
            known = before.qemus[name] == seen.qemus[name] or CAME in seen.shapes[name].more
            if seen.qemus[name] and not known:
                self.blame(f"{name} has begun anew: {self._told(seen)}")

    def _runs_on(self, before: Look, seen: Look) -> None:
        """What runs on keeps its process, and its network too."""
        if seen.qemus != before.qemus:
            self.blame(f"another QEMU: {before.qemus} became {seen.qemus}")
        for name in self.operation.vms:
            for nic in seen.shapes[name].nics:
                if not (nic.has_tap and nic.has_port and nic.is_up):
                    self.blame(f"{name} runs on and has lost its network: {nic}")

    @property
    def _names(self) -> tuple[str, ...]:
        """What its VMs are called in a look, on both workers where it has two."""
        names = self.operation.vms
        return (*names, *map(there_of, names)) if self.operation.moves else names

    def _equal(self, seen: Look, other: Look) -> bool:
        vms = all(seen.shapes[name] == other.shapes[name] for name in self._names)
        return vms and all(seen.things[n] == other.things[n] for n in self.operation.things)

    def _told(self, seen: Look) -> str:
        return "; ".join(
            [
                *(f"{name}: {seen.shapes[name]}" for name in self._names),
                *(f"{name}: {seen.things[name]}" for name in self.operation.things),
            ]
        )

    def _status(self) -> list[dict[str, Any]]:
        said = self.ground.fab(*self.operation.asks, file=self.operation.file)
        found = read_status(said)
        if not found:
            self.blame(f"status cannot be read: {said}")
        return found

    def _status_words(self) -> str:
        words = {str(entry["state"]) for entry in self._status()}
        return words.pop() if len(words) == 1 else " and ".join(sorted(words))

    def _truthful(self, whole: Undisturbed) -> None:
        """Status tells of what is there. It may have removed what a guest's end has left."""
        if self.operation.of_image:
            self._truthful_of_image()
            return
        if self.operation.moves:
            self._truthful_of_move()
            return
        if self.operation.things == FOLLOWING:
            self._truthful_of_following(whole)
            return
        found = self._status()
        entries = {str(entry["vm"]): entry for entry in found if "vm" in entry}
        seen, _unrest = self.ground.settled(sessions=self.sessions)
        if self.operation.things in (NETWORKS, OVERLAY):
            served = [entry for entry in found if "network" in entry]
            networks = NETS if self.operation.things == NETWORKS else OVER_NETS
            for line in things.untruths(served, seen.things, self._right(whole), networks):
                self.blame(line)
        if self.operation.things == MESH:
            workers = (self.ground.worker, self.ground.peer)
            right = self._right(whole)
            for line in things.untruths_of_mesh(found, seen.things, right, workers):
                self.blame(line)
        for name, target in self.targets.items():
            shape, entry = seen.shapes[name], entries.get(name)
            if entry is None:
                self.blame(f"status does not tell of {name}")
                continue
            self.trial.said.append(f"status: {_brief(entry)}")
            for line in untruths(entry, shape, target):
                self.blame(f"status of {name}: {line}, but there is {shape}")

    def _right(self, whole: Undisturbed) -> Mapping[str, tuple[str, ...]]:
        """Networks that are served as its hosts.toml asks."""
        return (whole.after if self.operation.has == "served" else whole.before).things

    def _truthful_of_move(self) -> None:
        """It runs once and `status` says where, or it runs nowhere and `status` says how to go on.

        Nobody who launches it meanwhile starts a second one.
        """
        (name,) = self.operation.vms
        file = self.operation.file
        said = self.ground.fab(*self.operation.asks, file=file)
        seen = self.ground.look()
        here, there = seen.shapes[name], seen.shapes[there_of(name)]
        states = [entry["state"] for entry in read_status(said)]
        self.trial.said.append(f"status: {states} {said.err}")
        runs = sum(shape.qemus for shape in (here, there) if not is_still(shape))
        if runs and "running" not in states:
            self.blame(f"status says {states}, but it runs: {self._told(seen)}")
        # In a folder that both see a mark keeps one of them from nothing.
        marked = any("mark" in word for shape in (here, there) for word in shape.more)
        marked = marked and not self.operation.shares
        if not runs and marked and "fab migrate" not in said.err:
            self.blame(f"status does not say how to go on: {said}, {self._told(seen)}")
        if not self.sessions:
            return
        self.ground.fab("-H", self.ground.worker, "launch", "--vm", name, file=file)
        self.ground.fab("-H", self.ground.peer, "launch", "--vm", name, file=file)
        _seen, unrest = self.ground.settled()
        self.trial.violations += [f"launched meanwhile: {line}" for line in unrest]

    def _truthful_of_following(self, whole: Undisturbed) -> None:
        said = self.ground.fab("doctor", "--format", "json", file=self.operation.file)
        self.trial.said.append(str(said))
        seen = self.ground.look().things
        follows = all(seen[name] == whole.after.things[name] for name in FOLLOWING)
        for line in overlay.untruths_of_doctor(said.out, follows=follows):
            self.blame(f"{line}, but the worker has {seen['following']}")

    def _truthful_of_image(self) -> None:
        (name,) = self.operation.vms
        said, found = self._status_words(), self.ground.look().shapes[name].disk
        if said != found:
            self.blame(f"image.list says {said}, but it is {found}")

    def complete(self, before: Look, whole: Undisturbed) -> None:
        """The same command completes; one that was refused because it is done has completed."""
        operation = self.operation
        is_done = operation.once and self.trial.outcome == "after"
        if is_done:
            refused = self.ground.fab(*operation.words, file=operation.file)
            self.trial.said.append(f"again: exit {refused.code}; {refused.err}")
            if refused.code != 1 or "Traceback" in refused.err:
                self.blame(f"the same command again, which is done: exit {refused.code}")
        words = operation.asks if is_done else (*operation.words, *operation.asks)
        said = self.ground.fab(*words, file=operation.file)
        self.trial.said.append(f"again: exit {said.code}; {said.err}")
        seen, unrest = self.ground.settled(sessions=self.sessions)
        self.trial.violations += unrest
        if said.code != 0:
            self.blame(f"the same command again: exit {said.code}")
        for name in operation.things:
            if seen.things[name] != (right := whole.after.things[name]):
                wrong = [word for word in seen.things[name] if word not in right]
                missing = [word for word in right if word not in seen.things[name]]
                self.blame(f"after the same command again {name} has {wrong}, not {missing}")
        if "Traceback" in said.err:
            self.blame("the same command again: traceback")
        for line in not_as_wanted(seen, self.operation):
            self.blame(f"after the same command again {line}")
        if self.operation.same_qemu and seen.qemus != before.qemus:
            self.blame(f"again, another QEMU: {before.qemus} became {seen.qemus}")
        if said.code == 0:
            self._clean_status(said)

    def _clean_status(self, said: Said) -> None:
        found = read_status(said)
        entries = [entry for entry in found if "network" not in entry]
        end = self.operation.end
        running = dict.fromkeys((*RUNS[2:], "moved", "returned"), "running")
        state = {"gone": "stopped", "plugged": "stopped", **running}.get(end, end)
        for entry in found:
            if "network" in entry:
                right = {"served": "up", "down": "down"}[self.operation.has]
                # Of tunnels that are wanted and not there it says that they are missing.
                drift = entry["drift"] if entry["network"] != MESH_NAME or right == "up" else ()
                if entry["state"] != right or drift or entry["error"]:
                    self.blame(f"after the same command again net.status says {entry}")
        for entry in entries:
            # What was adopted runs as somebody else has started it, what is impaired by hand as
            # hosts.toml does not have it, and that is said.
            drift = entry.get("drift") if end not in ("adopted", "impaired") else ()
            if entry["state"] != state or drift or entry["error"]:
                self.blame(f"after the same command again status says {_brief(entry)}")
        if len(entries) != len(self.operation.vms):
            self.blame(f"after the same command again status tells of {len(entries)} VMs")

    def late(self, cut: Cut) -> None:
        """What an old session still had to say changes nothing any more."""
        operation = self.operation
        if cut.kind == "late":
            wanted = self.ground.prepare(operation, sessions=False)
        else:
            wanted = self.ground.look()
        self.ground.heal()
        seen, unrest = self.ground.settled()
        self.trial.violations += [f"late: {line}" for line in unrest]
        for name in operation.things:
            if seen.things[name] != wanted.things[name]:
                was, became = wanted.things[name], seen.things[name]
                self.blame(f"a late session changed {name}: {was} became {became}")
        for name in self._names:
            if operation.of_image and seen.shapes[name].disk == "partial":
                continue  # what a transfer that came late has left: the next one goes on with it
            if seen.shapes[name] != wanted.shapes[name] or seen.qemus[name] != wanted.qemus[name]:
                self.blame(
                    f"a late session changed {name}: {wanted.shapes[name]} {wanted.qemus[name]}"
                    f" became {seen.shapes[name]} {seen.qemus[name]}"
                )


def read_status(said: Said) -> list[dict[str, Any]]:
    """What `status --format json` printed, last in a chain; empty when it cannot be read."""
    found: list[dict[str, Any]] = []
    for start in [match.start() for match in re.finditer(r"^\[", said.out, re.MULTILINE)]:
        try:
            found += json.JSONDecoder().raw_decode(said.out[start:])[0]
        except ValueError:
            return []
    return found


def before_our_code(text: str) -> bool:
    """An interrupted import of stock fab's own: no line of ours has run by then."""
    lines = text.rstrip().splitlines()
    own = [line for line in lines if "/site-packages/" not in line and "/bin/fab" not in line]
    ours = [line for line in own if "/vmops/" in line or "fabfile" in line]
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
    if shape.qemus == 0 and ("memory" in shape.more) != (state == "suspended"):
        lines.append(f"it says {state}")
    plugged = {nic["tap"]: nic["plugged"] for nic in entry["interfaces"]}
    for nic in shape.nics:
        right = nic.is_right(target) and (nic.is_up or shape.qemus == 0)
        if plugged.get(nic.tap) and not right and not drift:
            lines.append(f"it says that {nic.tap} is plugged, and no drift")
        if not plugged.get(nic.tap) and right:
            lines.append(f"it says that {nic.tap} is not plugged")
    # A run directory alone holds the logs of a guest that has powered itself off.
    left = shape.qemus == 0 and any(nic.has_tap or nic.has_port for nic in shape.nics)
    if left and state == "stopped" and not drift and not any(plugged.values()):
        lines.append("it says stopped, and nothing of what is left")
    return lines
