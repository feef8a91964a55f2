"""Networks from the command line: capture."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vmops.errors import InventoryError, WorkFailed
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import drop_output, give_bytes, say
from vmops.tasks.frame.selection import grouped, inventory
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import show_dry, where_they_are
from vmops.tasks.proof.places import place
from vmops.tasks.written import FORCE, but_for_stdout, new_file

if TYPE_CHECKING:
    from vmops.ops.proof.capture import Capture


def _more_than_nothing(count: int) -> str | None:
    return None if count >= 0 else "must be 1 or more, or 0 for no end"


@task(
    {
        "vm": Option(
            "VM and interface, such as web1:eth0; of a VM alone its first one.",
            names="ends",
            required=True,
        ),
        "write": Option("Write the frames to this file; else, or for -, to standard output."),
        "filter": Option("Only these frames, in the words of tcpdump, such as 'port 80'."),
        "force": FORCE,
        "count": Option("End after so many frames (default: no end).", _more_than_nothing),
    }
)
def capture(
    c: Context,
    vm: str | None = None,
    write: str | None = None,
    force: bool = False,
    filter: str | None = None,
    count: int = 0,
) -> None:
    """
    Capture the frames of a VM's interface, from its TAP into a file or a pipe, as pcap.

    It ends with Ctrl-C, after --count frames, or when the reader of the pipe has left; nothing of
    it stays on the worker. Example: fab capture --vm web1:eth0 | wireshark -k -i -
    """
    from vmops.ops.proof.capture import Wanted
    from vmops.ops.proof.capture import capture as begin

    write = but_for_stdout(write)
    if vm is None:
        raise InventoryError("capture: which interface?", cure="fab capture --vm web1:eth0")
    if write is None and sys.stdout.isatty():
        raise InventoryError(
            "frames are no text for a terminal",
            cure="fab capture --vm web1:eth0 --write f.pcap; or into a pipe: | wireshark -k -i -",
        )
    file = None if write is None else new_file(write, option="--write", force=force)
    there, nic = place(c, vm)
    groups = grouped(c, inventory(c), [there])
    wanted = Wanted(there, nic, count, filter or "")
    if show_dry(c, groups, lambda group: begin(group.route, wanted)):
        return
    (group,) = where_they_are(c, groups)
    # In this order: a capture that cannot begin leaves the file as it was.
    with begin(group.route, wanted) as frames, _sink(file) as put:
        say(f"{there.name}:{nic.name} on {group.route.worker.name}: capturing; Ctrl-C ends it")
        try:
            _copy(frames, put, to_pipe=file is None)
        except KeyboardInterrupt:
            pass
        finally:
            say(f"{frames.frames} frame{'s' * (frames.frames != 1)}")


def _copy(frames: Capture, put: Callable[[bytes], None], *, to_pipe: bool) -> None:
    try:
        for piece in frames.pieces(_reader_is_gone if to_pipe else lambda: False):
            put(piece)
    except BrokenPipeError:
        drop_output()


@contextmanager
def _sink(write: Path | None) -> Iterator[Callable[[bytes], None]]:
    """Where the frames go. WorkFailed for a file that cannot be written."""
    if write is None:
        yield give_bytes
        return
    try:
        with write.open("wb", buffering=0) as file:

            def put(data: bytes) -> None:
                file.write(data)

            yield put
    except OSError as error:
        raise WorkFailed(f"cannot write {write}: {error.strerror}") from error


def _reader_is_gone() -> bool:
    """True when nobody reads standard output any more, which silence would not let us notice."""
    watched = select.poll()
    watched.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in watched.poll(0))
