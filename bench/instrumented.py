"""A `fab` that notes where its time goes. Run as a script.

The words are the file for the notes, `-` or a path on the worker, and fab's own words. With a path
every script is run there by bash, which notes the time of each of its commands in PATH.NUMBER.

Functions are wrapped as their modules are imported. Times are exclusive: what a noted function
calls, when that is noted itself, is not counted again. Other threads are noted apart: what they
do costs time only where the main thread waits for them.
"""

from __future__ import annotations

import functools
import json
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

EXCHANGE = "exchange"
BESIDE = "beside: "

SPANS = (
    ("vmops.inventory_file", "load", "inventory"),
    ("vmops.remote.ssh.connection", "connection", "connection: configuration, waiting"),
    ("vmops.remote.ssh.connection", "dial", "connection: TCP"),
    ("paramiko.transport", "Transport.start_client", "connection: key exchange"),
    ("vmops.remote.ssh.login", "Login.authenticate", "connection: login"),
    ("vmops.remote.ssh.transport", "WorkerTransport.open_command", "connection: channel"),
    ("vmops.remote.exchange", "RootShell.run", EXCHANGE),
    ("vmops.core.script.script", "render", "script: write"),
    ("vmops.core.script.script", "parse", "script: read the answer"),
    ("vmops.core.facts.observed", "read", "read the facts"),
    ("vmops.core.plan.vm", "launch", "plan"),
    ("vmops.core.plan.vm", "stop", "plan"),
    ("vmops.tasks.frame.output", "give", "print"),
)
"""Module, attribute, and what its time is called; several may share a name."""


class Notes:
    """The time of each noted part, in the order of their beginnings.

    What other threads do in the meantime has a name that begins with `BESIDE`.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._threads = threading.local()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What happens inside is time of `name`, and not of the part around it."""
        if threading.current_thread() is not threading.main_thread():
            name = BESIDE + name
        around: list[str] = self._threads.__dict__.setdefault("open", [])
        self._account(around)
        around.append(name)
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._account(around)
            around.pop()

    def _account(self, around: list[str]) -> None:
        """Count what passed since the last call of this thread for the innermost part."""
        now = time.monotonic()
        if around:
            self.seconds[around[-1]] += now - self._threads.since
        self._threads.since = now


class ImportWatch(MetaPathFinder, Loader):
    """Finds modules as usual; times their execution and wraps what `SPANS` names in them."""

    def __init__(self, notes: Notes, trace: str) -> None:
        self._notes = notes
        self._trace = trace
        self._usual: dict[str, Loader] = {}
        self._stage = "import: fabric"

    def enter(self, stage: str) -> None:
        """From now on imports are counted under this name."""
        self._stage = stage

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The usual spec, with this object as its loader."""
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None:
            for finder in sys.meta_path[1:]:
                spec = finder.find_spec(fullname, path, target)
                if spec is not None:
                    break
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return spec
        self._usual[fullname] = spec.loader
        spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the usual loader does."""
        return self._usual[spec.name].create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module within its part of the notes, and wrap what is to be noted."""
        name = module.__name__
        loader = self._usual[name]
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = loader
        with self._notes.part(self._stage):
            loader.exec_module(module)
        for home, attribute, label in SPANS:
            if home == name:
                self._wrap(module, attribute, label)

    def _wrap(self, module: ModuleType, attribute: str, label: str) -> None:
        *owners, last = attribute.split(".")
        owner = functools.reduce(getattr, owners, module)
        usual = getattr(owner, last)
        setattr(owner, last, self._noted(usual, label))

    def _noted(self, usual: Callable[..., Any], label: str) -> Callable[..., Any]:
        calls = 0

        @functools.wraps(usual)
        def noted(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            name = label
            if label == EXCHANGE:
                name = f"{EXCHANGE} {calls}"
                if self._trace != "-":
                    shell, script, *others = args
                    args = (shell, traced(script, f"{self._trace}.{calls}"), *others)
            with self._notes.part(name):
                return usual(*args, **kwargs)

        return noted


def traced(script: str, path: str) -> str:
    """The same script, run by a bash that writes the time and the words of each command."""
    head = f"exec 19>{path}; BASH_XTRACEFD=19; PS4='+ $EPOCHREALTIME '; set -x\n"
    return shlex.join(["bash", "-c", head + script])


def main() -> None:
    """Run fab with these words, and write the notes when it is done."""
    begun = time.monotonic()
    place, trace, *words = sys.argv[1:]
    notes = Notes()
    watch = ImportWatch(notes, trace)
    sys.meta_path.insert(0, watch)
    sys.argv = ["fab", *words]
    try:
        with notes.part("fab itself"):
            from fabric.main import program

            watch.enter("import: vmops")
            program.run()
    finally:
        ended = time.monotonic()
        record = {"begun": begun, "ended": ended, "seconds": notes.seconds}
        Path(place).write_text(json.dumps(record))


if __name__ == "__main__":
    main()
