"""How a task speaks: data to standard output, the rest to standard error, one exit code.

Every task is wrapped by `reporting`: the one place where a VmopsError becomes a message.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, TypeVar

from invoke.exceptions import Exit

from vmops.errors import FleetFailed, InventoryError, VmopsError, WorkFailed

FORMATS = ("text", "json")

F = TypeVar("F", bound=Callable[..., Any])


def reporting(body: F) -> F:
    """The task's body, with failures as one to three lines and the right exit code."""

    @functools.wraps(body)
    def task(*args: Any, **kwargs: Any) -> Any:
        prepare_streams()
        quiet_libraries()
        be_quick()
        echo(args[0].config.run.echo)
        try:
            return body(*args, **kwargs)
        except VmopsError as error:
            if os.environ.get("INVOKE_DEBUG"):
                raise
            complain(error.failures if isinstance(error, FleetFailed) else [error])
            raise Exit(code=error.exit_code) from error
        except KeyboardInterrupt:
            say("interrupted: what a worker had begun, it finishes or undoes; see: fab status")
            raise Exit(code=1) from None
        except BrokenPipeError:
            drop_output()

    return task  # type: ignore[return-value]


def prepare_streams() -> None:
    """Whatever this process was started with, both streams can be written to.

    A closed one goes nowhere. A character that the terminal's encoding lacks becomes an escape.
    """
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def be_quick() -> None:
    """Keep the collector from walking through all that was imported: at the end of the process that
    alone took 30 ms."""
    gc.freeze()
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def quiet_libraries() -> None:
    """paramiko prints tracebacks of its own through logging; our messages say it all."""
    if not os.environ.get("INVOKE_DEBUG"):
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)


def echo(wanted: bool) -> None:
    """With `fab -e`, say each command before it runs."""
    commands = logging.getLogger("vmops.commands")
    commands.propagate = False
    if wanted and not commands.handlers:
        commands.addHandler(logging.StreamHandler())
        commands.setLevel(logging.INFO)


def say(text: str) -> None:
    """A line for the operator, not data."""
    print(text, file=sys.stderr, flush=True)


def complain(errors: Iterable[VmopsError]) -> None:
    """Each error as what, where, why and cure."""
    for error in errors:
        say(f"{_red('error')}: {error}")


def _red(word: str) -> str:
    return f"\033[31m{word}\033[0m" if colour(sys.stderr) else word


def colour(stream: Any) -> bool:
    """Colour only on a terminal, and not where NO_COLOR is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


_dropping = False


def drop_output() -> None:
    """The reader of standard output has left: what is still printed there goes nowhere."""
    global _dropping
    _dropping = True
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reader_has_left() -> bool:
    """True after `fab … | head` has read what it wanted."""
    return _dropping


def give(text: str) -> None:
    """Data, on standard output. Work goes on to its end when its reader leaves."""
    try:
        with _writing():
            print(text, flush=True)
    except BrokenPipeError:
        drop_output()


def give_bytes(data: bytes) -> None:
    """Data that is no text. Raises BrokenPipeError when the reader has left."""
    with _writing():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@contextmanager
def _writing() -> Iterator[None]:
    """Around a write to standard output: WorkFailed for what is lost there, on a full disk say."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_output()
        raise WorkFailed(
            f"standard output cannot be written: {error.strerror}",
            cure="make room there, or send it to another place",
        ) from error


def give_json(value: Any) -> None:
    """One JSON document, on standard output."""
    give(json.dumps(value, indent=2))


def give_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: drawn on a terminal, plain aligned columns in a pipe."""
    if sys.stdout.isatty():
        _draw(headings, rows)
        return
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    padded = ([cell.ljust(n) for cell, n in zip(line, widths, strict=True)] for line in lines)
    give("\n".join("  ".join(cells).rstrip() for cells in padded))


STATE_STYLES = {
    "running": "green",
    "paused": "yellow",
    "crashed": "red",
    "unknown": "red",
    "ok": "green",
    "FAIL": "red",
}


def _draw(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell, style=STATE_STYLES.get(cell, "")) for cell in row))
    Console().print(table)


def check_format(chosen: str) -> bool:
    """True for json, False for text. Raises InventoryError for anything else."""
    if chosen not in FORMATS:
        raise InventoryError(f"--format {chosen!r}: must be one of {', '.join(FORMATS)}")
    return chosen == "json"


def finish(errors: Sequence[VmopsError]) -> None:
    """Raise what a task's failures amount to, each said once; nothing when there are none."""
    if errors:
        raise FleetFailed([*{str(error): error for error in errors}.values()])
