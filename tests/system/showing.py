"""`fab vnc` while it runs: what it printed, its end, and a VNC client on the worker itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmops.lab import Lab

from . import rfb
from .operator import FAB, ROOT, Operator

END_LIMIT_S = 20


@dataclass
class Showing:
    """A `fab vnc` that has printed where the screen is."""

    process: subprocess.Popen[str]
    said: dict[str, Any]
    errors: Path

    @property
    def port(self) -> int:
        return int(self.said["port"])

    @property
    def password(self) -> str:
        return str(self.said["password"])

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send it a signal; its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Its exit code, when it ends by itself."""
        return self.process.wait(END_LIMIT_S)


@contextmanager
def showing(operator: Operator, vm: str, *options: str, **environment: str) -> Iterator[Showing]:
    """Run `fab vnc` for the VM until it has said where; it ends with the block."""
    errors = operator.folder / "vnc-errors"
    plain = {key: value for key, value in os.environ.items() if "DISPLAY" not in key}
    with errors.open("w") as stream:
        process = subprocess.Popen(
            [FAB, "vnc", "--vm", vm, "--format", "json", *options],
            cwd=ROOT,
            env={**plain, **operator.environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
        )
    with process:
        try:
            yield Showing(process, _printed(process, errors), errors)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(END_LIMIT_S)


def _printed(process: subprocess.Popen[str], errors: Path) -> dict[str, Any]:
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line == "}\n":
            return dict(json.loads(text))
    raise AssertionError(f"it said: {text!r} and {errors.read_text()!r}")


def from_the_worker(lab: Lab, port: int | None, password: str = "", worker: str = "worker1") -> str:
    """What a VNC client says that somebody runs on the worker itself."""
    pid = next(w.pid for w in lab.status().workers if w.name == worker)
    argv = ["nsenter", f"--target={pid}", "--net", sys.executable, rfb.__file__, str(port)]
    done = subprocess.run(
        [*argv, *([password] if password else [])],
        capture_output=True,
        text=True,
        timeout=END_LIMIT_S,
        check=True,
    )
    return done.stdout.strip()
