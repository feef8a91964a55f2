"""Several operators at once on one worker, at random and over a bad network, round after round."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field, replace

from . import things
from .cuts import NETWORK, SIGNALS
from .ground import Command, Ground, Said
from .judge import before_our_code, read_status, untruths
from .operations import DISKS, DRAIN, OPERATIONS
from .outside import SEED, Shape
from .states import File
from .targets import GUESTS, TARGETS
from .waiting import Hung
from .wanted import is_as_wanted

OPERATORS = 3
COMMANDS = 3
"""Operators in a round, and what each of them does in it."""
CALM_S = 3.0
"""The longest time between two faults, and the longest fault."""

WORDS = tuple(
    dict.fromkeys(
        (operation.words, operation.file)
        for operation in OPERATIONS
        if operation.file not in ("mesh", "shared", "agents")
        and not operation.overlaid
        and operation.words[0] != "reset-disk"
        and operation.vms != DISKS
        and not (operation.changed and {"disk1", "plug1"} & {*operation.vms})
    )
)
"""A disk that was made larger stays so, and the other inventory would not have it. No guest here
lets go of a disk. What is laid for tunnels, OVN and a folder in common would be in others' way, and
so would a guest with an agent."""
MIXED = (*TARGETS, *GUESTS)
"""The VMs that it is about."""
NOWHERE = "there is nothing of it to move"
FALSE_ALARM = "that vmops did not start"
"""No stranger here uses a TAP of these VMs, so nobody may be told to end such a process."""


@dataclass
class Round:
    """One round: its seed, what was done, and what must not be."""

    seed: int
    commands: int = 0
    cut: int = 0
    faults: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def run_round(ground: Ground, seed: int) -> Round:
    """Let them do, heal the network, and judge. A violation is told in the round, never raised."""
    done, began = Round(seed), time.monotonic()
    ground.use_pair()
    over = threading.Event()
    threads = [
        threading.Thread(target=_operate, args=(ground, random.Random(seed * 100 + number), done))
        for number in range(OPERATORS)
    ]
    trouble = threading.Thread(target=_disturb, args=(ground, random.Random(seed), over, done))
    for thread in (*threads, trouble):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    trouble.join()
    ground.heal()
    try:
        _judge(ground, done)
    except Hung as error:
        done.violations.append(str(error))
    done.seconds = round(time.monotonic() - began, 1)
    return done


def _operate(ground: Ground, chance: random.Random, done: Round) -> None:
    """One operator, who may be killed or interrupted."""
    for _ in range(COMMANDS):
        words, file = chance.choice(WORDS)
        number = SIGNALS[chance.choice(list(SIGNALS))] if chance.random() < 0.3 else None
        moment = chance.uniform(0.1, 2.0)
        try:
            command = Command(ground, words, file=file)
            ended = number is not None and command.runs_at(moment)
            if ended and number is not None:
                command.process.send_signal(number)
            _note(done, command.end(), -number if ended and number is not None else None)
        except Hung as error:
            done.violations.append(str(error))


def _note(done: Round, said: Said, signalled: int | None) -> None:
    """Count a command, and look at how it ended."""
    done.commands += 1
    done.cut += signalled is not None
    done.said.append(f"{said.began:.2f} {said}")
    if "Traceback" in said.err and not before_our_code(said.err):
        done.violations.append(f"traceback: {said}")
    if FALSE_ALARM in said.err:
        done.violations.append(f"false alarm: {said}")
    if said.code not in {0, 1, 3} | ({130, signalled} if signalled is not None else set()):
        done.violations.append(f"exit {said.code}: {said}")


def _disturb(ground: Ground, chance: random.Random, over: threading.Event, done: Round) -> None:
    """Break the network of either worker for a while, again and again."""
    while not over.wait(chance.uniform(0, CALM_S)):
        kind = chance.choice([word for word in NETWORK if word != "late"])
        toward = chance.choice(["operator", "worker"])
        after = chance.choice([0, chance.randrange(30_000)])
        worker = chance.choice([ground.worker, ground.worker, ground.peer])
        ground.lab.fault(worker, kind, after_bytes=after, toward=toward)
        done.faults += 1
        over.wait(chance.uniform(0.2, CALM_S))
        ground.heal()


def _judge(ground: Ground, done: Round) -> None:
    """Nothing is broken, `status` tells the truth, and `up` makes all whole."""
    _seen, unrest = ground.settled()
    done.violations += unrest
    _bring_back(ground, done)
    asked = [*read_status(ground.fab(*STATUS)), *read_status(ground.fab(*STATUS, file="networks"))]
    entries = {str(entry["vm"]): entry for entry in asked}
    served = read_status(ground.fab("net.status", "--format", "json", file="networks"))
    seen, unrest = ground.settled()  # status may have removed what a guest's end has left
    done.violations += unrest
    for target in MIXED:
        lines = (
            untruths(entries[target.name], seen.shapes[target.name], target)
            if target.name in entries
            else ["it does not tell of it"]
        )
        for line in lines:
            shape = seen.shapes[target.name]
            done.violations.append(f"status of {target.name}: {line}, but there is {shape}")
    files: tuple[File, ...] = ("hosts", "networks")
    for file in files:
        said = ground.fab("up", "--restart", file=file)
        done.said.append(f"{said.began:.2f} {said}")
        if said.code != 0:
            done.violations.append(f"up does not mend it: {said}")
    was = seen.things
    seen, unrest = ground.settled()
    done.violations += unrest
    done.violations += [
        f"up has not made {target.name} whole: {seen.shapes[target.name]}"
        for target in MIXED
        if not is_as_wanted(_usual(seen.shapes[target.name]), target, "running")
    ]
    done.violations += things.not_as_wanted(seen.things, SERVED)
    done.violations += things.untruths(served, was, seen.things)
    done.violations += ground.tags.wrong([*MIXED, TARGETS[0].moved()])


def _bring_back(ground: Ground, done: Round) -> None:
    """Open the worker that was drained, and end a move of disk1, wherever that was cut: one that
    cannot be taken back goes on first. The VM may be nowhere at all."""
    for _ in range(2):
        said = ground.fab("undrain", "--worker", "{there}", file="pair")
        done.said.append(f"{said.began:.2f} {said}")
    drained = [name for name in DRAIN if ground.look().things[name]]
    if said.code != 0 or drained:
        done.violations.append(f"the worker that was drained is not opened: {said}")
    for to in ("{here}", "{there}", "{here}"):
        said = ground.fab("migrate", "--vm", "disk1", "--to", to, file="pair")
        done.said.append(f"{said.began:.2f} {said}")
        if (to == "{here}" and said.code == 0) or NOWHERE in said.err:
            return
    done.violations.append(f"disk1 does not come back: {said}")


def _usual(shape: Shape) -> Shape:
    """Without what may stay when all runs: snapshots, and a cable that was pulled."""
    return replace(shape, more=tuple(word for word in shape.more if word in ("memory", SEED)))


SERVED = next(operation for operation in OPERATIONS if operation.name == "net-up")
STATUS = ("status", "--format", "json")


def soak_report(rounds: list[Round]) -> str:
    """The figures, and every violation with what was said in its round."""
    bad = [done for done in rounds if done.violations]
    lines = [
        f"{len(rounds)} rounds, {sum(done.commands for done in rounds)} commands,"
        f" {sum(done.cut for done in rounds)} of them ended by a signal,"
        f" {sum(done.faults for done in rounds)} faults of the network,"
        f" {len(bad)} rounds with a violation"
    ]
    for done in bad:
        lines += ["", f"round with seed {done.seed}", *(f"  {line}" for line in done.violations)]
        lines += [f"    {line}" for text in sorted(done.said) for line in text.splitlines()]
    return "\n".join(lines)
