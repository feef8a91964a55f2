"""What goes wrong on the way to a guest, from the process that leads there to `ssh` that it is for.

OpenSSH starts the way as a process of its own and ends with 255 whatever became of it. So the error
goes by a file, and is told once: by the program that was typed, with its own exit code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from invoke.exceptions import Exit

from vmops.errors import InventoryError, VmopsError, WorkerUnreachable, WorkFailed

_FILE = "VMOPS_SSH_ERROR"
"""The variable that names the file to the way."""


class _Told(NamedTuple):
    """Where the way leaves its error."""

    file: Path

    def environment(self) -> Mapping[str, str]:
        """That of this process, with the file's name."""
        return {**os.environ, _FILE: str(self.file)}

    def error(self) -> VmopsError | None:
        """The error that the way has left; None where it left none."""
        try:
            said = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        code = said.pop("exit_code")
        if code == InventoryError.exit_code:
            return InventoryError(said["what"], cure=said["cure"])
        kind = WorkerUnreachable if code == WorkerUnreachable.exit_code else WorkFailed
        return kind(**said)


@contextmanager
def telling() -> Iterator[_Told]:
    """For who starts ssh: a file of nobody else's, gone afterwards."""
    with TemporaryDirectory(prefix="vmops-ssh-") as folder:
        yield _Told(Path(folder, "error"))


@contextmanager
def told_to_ssh() -> Iterator[None]:
    """For the way: its error goes into the file, where there is one, and is not said here. Raises
    Exit with its exit code then."""
    try:
        yield
    except VmopsError as error:
        file = os.environ.get(_FILE)
        if not file:
            raise
        said = {key: getattr(error, key) for key in ("what", "worker", "vm", "cure", "exit_code")}
        try:
            Path(file).write_text(json.dumps(said), encoding="utf-8")
        except OSError:
            raise error from None
        raise Exit(code=error.exit_code) from error
