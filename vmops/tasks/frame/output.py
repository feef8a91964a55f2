"""How a task speaks: data to standard output, the rest to standard error.

Names, reasons and messages come from workers and guests. Whatever goes through here as text is
harmless to a terminal afterwards; only bytes to a pipe stay as they are.
"""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, TypeVar

from vmops.errors import FleetFailed, InventoryError, VmopsError, WorkFailed
from vmops.tasks.frame.harmless import harmless, one_line
from vmops.tasks.typed.program import as_typed

T = TypeVar("T")

_BREAK = re.compile(r"\n(?!  )")
"""A line's end in a reason that a worker gave: no line of ours begins there."""

_BLANKS = re.compile(r"\s{2,}")


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


_OBJECTS = 50_000
"""New ones between two looks for garbage. With Python's own 700 there are thirty in a `fab up`,
which makes little of it."""


def be_quick() -> None:
    """Keep the collector from walking through all that was imported: at the end of the process that
    alone took 30 ms. And from looking at what a task makes as often as it does by itself."""
    gc.freeze()
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def quiet_libraries() -> None:
    """paramiko prints tracebacks of its own through logging; our messages say it all."""
    if not os.environ.get("INVOKE_DEBUG"):
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)


def echo(wanted: bool) -> None:
    """With `fab -e`, say each command before it runs. What is logged is said as anything else."""
    ours = logging.getLogger("vmops")
    if not ours.handlers:
        ours.addHandler(_Saying(logging.WARNING))
    commands = logging.getLogger("vmops.commands")
    commands.propagate = False
    if wanted and not commands.handlers:
        commands.addHandler(_Saying())
        commands.setLevel(logging.INFO)


class _Saying(logging.Handler):
    """Says what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record."""
        say(record.getMessage())


def say(text: str) -> None:
    """A line for the operator, not data."""
    print(harmless(text), file=sys.stderr, flush=True)


def complain(errors: Iterable[VmopsError]) -> None:
    """Each error as what, where, why, and the cure as it can be typed; what cures several that
    follow each other is told once, after the last of them. "There" is another place for each
    worker."""
    found = list(errors)
    _told.update(map(str, found))
    for place, error in enumerate(found, start=1):
        shared = place < len(found) and _cures(found[place]) == _cures(error)
        word, text = _red("error"), harmless(in_words(error, cured=not shared))
        if not isinstance(error, InventoryError):
            text = _BREAK.sub("\n  ", text)
        print(f"{word}: {text}", file=sys.stderr, flush=True)


def _cures(error: VmopsError) -> tuple[str, str]:
    return error.cure, error.worker if error.cure.startswith("there") else ""


_told: set[str] = set()
"""What a task has complained of so far."""


def tell_anew() -> None:
    """A task begins: what was told before it is told again."""
    _told.clear()


def untold(errors: Iterable[VmopsError]) -> list[VmopsError]:
    """Those of which the task has not complained yet."""
    return [error for error in errors if str(error) not in _told]


def in_words(error: VmopsError, *, cured: bool = True) -> str:
    """The error's text, with its cure as it can be typed here, unless it is told elsewhere."""
    text = str(error)
    if not error.cure:
        return text
    bare = text.removesuffix(error.cure)
    return bare + as_typed(error.cure) if cured else bare.rstrip()


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
            print(harmless(text), flush=True)
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
            f"cannot write to standard output: {error.strerror}",
            cure="make room there, or send it to another place",
        ) from error


def give_json(value: Any, *, lines: bool = True) -> None:
    """One JSON document, on standard output; without `lines` all on one."""
    give(json.dumps(value, indent=2 if lines else None).replace("\x7f", "\\u007f"))


def give_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: drawn on a terminal, plain aligned columns in a pipe.

    There two blanks or more stand between cells and never in one, and none is empty.
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console

        from vmops.tasks.frame.tables import drawn

        console = Console()
        console.print(drawn(headings, rows, width=console.width))
        return
    lines = [
        list(headings),
        *([_BLANKS.sub(" ", cell).strip() or "-" for cell in row] for row in rows),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    padded = ([cell.ljust(n) for cell, n in zip(line, widths, strict=True)] for line in lines)
    give("\n".join("  ".join(cells).rstrip() for cells in padded))


def gap() -> None:
    """An empty line between two tables, where no lines are drawn that tell them apart."""
    if not sys.stdout.isatty():
        give("")


def table(
    headings: Sequence[str], row: Callable[[T], Sequence[str]]
) -> Callable[[Sequence[T]], None]:
    """For results with a row each: what puts them on standard output, nothing where there are
    none."""
    return lambda results: give_table(headings, [row(one) for one in results]) if results else None


def finish(errors: Sequence[VmopsError]) -> None:
    """Raise what a task's failures amount to, each said once; nothing when there are none."""
    if errors:
        raise FleetFailed([*{str(error): error for error in errors}.values()])
