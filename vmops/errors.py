"""Everything that vmops raises, and the exit code that each part of the tree means.

    VmopsError
    ├── InventoryError                bad input; nothing was contacted         exit 2
    ├── WorkerUnreachable             DNS, TCP, host key, login                exit 3
    │   ├── HostKeyRefused            unknown under "strict", changed, revoked
    │   └── LoginRefused              no key or password was accepted
    └── WorkFailed                    the work itself                          exit 1
        ├── CommandFailed             a command on a worker ended with another code than 0
        ├── CommandTimeout            a command ran out of time and was ended
        ├── ConnectionLost            the worker stopped answering in the middle
        ├── UnexpectedOutput          a tool answered what we cannot read
        ├── LaunchFailed              QEMU did not start, or a strict launch was undone
        ├── StopTimeout               a VM did not end
        ├── NotRunning                the VM is not running
        ├── PortConflict              a TAP or port of that name belongs to somebody else
        ├── MonitorError              QMP: no answer, or an error as answer
        ├── NotAsked                  workers that it depends on could not be asked
        │                             (exit 3 where none of them could be reached)
        └── FleetFailed               keeps every worker's result, good and bad

An error carries its data. Its text is what, where, why, and the cure: one to three lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Evidence(NamedTuple):
    """What a command left to tell: its words, how it ended, and the last that it or its log said.

    `exit_code` is -1 for a command that a signal ended, None where it is not known.
    """

    argv: tuple[str, ...] = ()
    exit_code: int | None = None
    tail: str = ""


NO_EVIDENCE = Evidence()


class VmopsError(Exception):
    """The root of all that vmops raises.

    `worker`, `vm` and `interface` say where, each empty where it does not matter. `what` is the
    sentence without them, unless its subject is the VM itself. `cure` is what the operator can do,
    or empty.
    """

    exit_code = 1

    def __init__(
        self, what: str, *, worker: str = "", vm: str = "", interface: str = "", cure: str = ""
    ) -> None:
        super().__init__(what)
        self.what = what
        self.worker = worker
        self.vm = vm
        self.interface = interface
        self.cure = cure

    def __reduce__(self) -> tuple[object, ...]:
        """An error arrives from another process as what it is, with all that it carries."""
        return _remade, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        """Where, what and why in one sentence; the cure on a line of its own."""
        cure = f"\n  {self.cure}" if self.cure else ""
        return f"{self.worker}: {self.sentence}{cure}" if self.worker else f"{self.sentence}{cure}"

    @property
    def sentence(self) -> str:
        """The text without the worker and the cure: for who says those elsewhere."""
        named = not self.vm or self.what.startswith((f"{self.vm} ", f"{self.vm}: "))
        vm = "" if named else f"{self.vm}: "
        return f"{vm}{self.interface}: {self.what}" if self.interface else f"{vm}{self.what}"


def _remade(
    kind: type[VmopsError], args: tuple[object, ...], carried: dict[str, object]
) -> VmopsError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(carried)
    return error


class InventoryError(VmopsError):
    """Bad input. Nothing was contacted. `complaints` holds every fault that was found."""

    exit_code = 2

    def __init__(self, *complaints: str, cure: str = "") -> None:
        super().__init__("\n".join(complaints), cure=cure)
        self.complaints = complaints


class WorkerUnreachable(VmopsError):
    """The worker could not be reached: DNS, TCP, the SSH handshake, a host key or the login."""

    exit_code = 3


class HostKeyRefused(WorkerUnreachable):
    """The worker's host key is unknown under `strict`, or changed, or revoked."""


class LoginRefused(WorkerUnreachable):
    """The worker accepted none of the keys and passwords that were offered."""


class WorkFailed(VmopsError):
    """The worker was reached, and the work failed there."""


class CommandFailed(WorkFailed):
    """A command ended with an exit code other than 0; `evidence` has it."""

    def __init__(
        self, what: str, *, evidence: Evidence, worker: str = "", vm: str = "", cure: str = ""
    ) -> None:
        super().__init__(what, worker=worker, vm=vm, cure=cure)
        self.evidence = evidence


class CommandTimeout(WorkFailed):
    """A command ran out of time. It was ended on the worker too, unless the text says otherwise."""


class ConnectionLost(WorkFailed):
    """The connection died, or the worker stopped answering, while something was under way."""


class UnexpectedOutput(WorkFailed):
    """A tool on the worker answered something that cannot be read."""


class LaunchFailed(WorkFailed):
    """QEMU did not start, or a strict launch was refused and undone.

    `evidence` is of the step that failed, empty where none had begun.
    """

    def __init__(
        self,
        what: str,
        *,
        worker: str = "",
        vm: str = "",
        cure: str = "",
        evidence: Evidence = NO_EVIDENCE,
    ) -> None:
        super().__init__(what, worker=worker, vm=vm, cure=cure)
        self.evidence = evidence


class StopTimeout(WorkFailed):
    """A VM did not end in its time."""


class NotRunning(WorkFailed):
    """The VM is not running."""


class PortConflict(WorkFailed):
    """A TAP or an OVS port of that name is there and belongs to somebody else."""


class MonitorError(WorkFailed):
    """QMP did not answer in time, or answered with an error."""


class NotAsked(WorkFailed):
    """Nothing was done, as it depends on workers that could not be asked; `reasons` has why.

    Its exit code is 3 when none of these could be reached, else 1.
    """

    def __init__(
        self,
        what: str,
        *,
        reasons: Sequence[VmopsError],
        worker: str = "",
        vm: str = "",
        cure: str = "",
    ) -> None:
        why = "; ".join(dict.fromkeys(error.sentence for error in reasons))
        super().__init__(f"{what}: {why}", worker=worker, vm=vm, cure=cure)
        self.reasons = tuple(reasons)
        self.exit_code = _exit_code(reasons)


class FleetFailed(WorkFailed):
    """At least one VM or worker failed; `failures` holds every one of them.

    Its exit code is 3 when every failure is an unreachable worker, else 1.
    """

    def __init__(self, failures: Sequence[VmopsError]) -> None:
        super().__init__("\n".join(str(failure) for failure in failures))
        self.failures = tuple(failures)
        self.exit_code = _exit_code(failures)


def _exit_code(errors: Sequence[VmopsError]) -> int:
    unreachable = WorkerUnreachable.exit_code
    return unreachable if all(e.exit_code == unreachable for e in errors) else WorkFailed.exit_code
