"""VMs that are never to be on one worker: what the key says, and what contradicts it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from vmops.core.inventory.complaints import Fault, did_you_mean, is_of, show

KEY = "apart"
MOST = 256
TEXT = f"at most {MOST} different names of VMs, or globs such as 'db*'"
PATTERN = re.compile(r"[A-Za-z0-9*?][A-Za-z0-9*?._-]{0,62}")


def patterns(value: Sequence[object]) -> tuple[str, ...] | None:
    """Names of VMs, and globs of them."""
    known = all(isinstance(word, str) and PATTERN.fullmatch(word) for word in value)
    return tuple(map(str, value)) if known and len(set(value)) == len(value) <= MOST else None


def apart(said: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """For each VM those that it may not be with on one worker: whichever of the two says so.

    `said` has what each VM says. A VM is never apart from itself, so that all of a family may say
    the same.
    """
    found: dict[str, set[str]] = {name: set() for name in said}
    for name, words in said.items():
        for word in words:
            for other in _meant(word, said):
                if other != name:
                    found[name].add(other)
                    found[other].add(name)
    return {name: frozenset(others) for name, others in found.items()}


def _meant(word: str, known: Mapping[str, object]) -> Iterator[str]:
    if word in known:
        yield word
    elif _is_glob(word):
        yield from (name for name in known if fnmatchcase(name, word))


def _is_glob(word: str) -> bool:
    return any(character in word for character in "*?")


def apart_faults(vms: Mapping[str, Mapping[str, Any]], unmade: Collection[str] = ()) -> list[Fault]:
    """A fault for each name that is no VM, and for each VM that is pinned to the worker of one that
    it is to be apart from."""
    said = {name: values.get(KEY) or () for name, values in vms.items()}
    if not any(said.values()):
        return []
    faults = [
        Fault(("vms", name, KEY), f"{show(word)}: is not a VM{did_you_mean(word, vms)}")
        for name, words in said.items()
        for word in words
        if word not in vms and not _is_glob(word) and not is_of(word, unmade)
    ]
    there: dict[str, list[str]] = {}
    for name, others in apart(said).items():
        worker = vms[name].get("worker")
        if worker is None:
            continue
        before = there.setdefault(worker, [])
        if first := next((other for other in before if other in others), None):
            why = f"{first} is there, and they are to be apart"
            faults.append(Fault(("vms", name, "worker"), f"{show(worker)}: {why}"))
        before.append(name)
    return faults
