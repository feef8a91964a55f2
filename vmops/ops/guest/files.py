"""Files to and from a guest, by its agent."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from vmops.core.inventory.complaints import typed
from vmops.core.inventory.model import VM
from vmops.core.tools import agent
from vmops.core.tools.agent import AgentHeard, AgentTalk, Line
from vmops.errors import InventoryError, VmopsError, WorkFailed
from vmops.ops.guest.agent import execute, talk, unreadable_answer
from vmops.ops.route import Route

PIECE = 64 * 1024
"""Bytes of one request: no agent refuses so few."""

PIECES = 24
"""Requests of one exchange."""

MOST_BYTES = 1 << 30
"""What is fetched of one file at most: a guest may have one that never ends."""

_PLACE = 'chmod "$1" -- "$2" && mv -fT -- "$2" "$3" || { rm -f -- "$2"; exit 1; }'
_MOVE_LIMIT_S = 30


_OF_GUEST = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*):(.+)", re.DOTALL)
_OF_NO_ONE = re.compile(r"([^/:]*):/")
"""What is meant to be in a guest: several names, a glob, or none."""


class Sides(NamedTuple):
    """The two sides of a copy: a path `there`, in the guest of `vm`, and one `here`."""

    vm: str
    there: str
    here: str
    is_upload: bool


def sides(source: str, target: str) -> Sides:
    """From two paths, of which one is written VM:PATH. A folder gets a file of the other's name.

    Raises InventoryError where not just one is, or it is not absolute.
    """
    if "-" in (source, target):
        raise InventoryError(
            "cp: - is neither a file nor a stream here",
            cure="into a pipe: fab exec --vm VM -- cat PATH; a file of that name: ./-",
        )
    to, by = _OF_GUEST.fullmatch(target), _OF_GUEST.fullmatch(source)
    if bool(to) == bool(by):
        usual = "fab cp ./a web1:/tmp/a; fab cp web1:/tmp/a ."
        if to:
            raise InventoryError(
                f"cp: {source} and {target} are both in guests, and one has to be here", cure=usual
            )
        for text in (source, target):
            if said := _OF_NO_ONE.match(text):
                what = f"{said[1]!r} is not one VM's name" if said[1] else "it names no VM"
                raise InventoryError(f"cp: {text}: {what}", cure=usual)
        raise InventoryError(
            f"cp: {source} and {target} are both here, and one has to be in a guest", cure=usual
        )
    found = to or by
    assert found is not None, "one of them is"
    vm, path = found[1], found[2]
    if not path.startswith("/") or "\0" in path:
        raise InventoryError(
            f"cp: {path!r} of {vm} must be an absolute path", cure=typed(f"{vm}:/{path}")
        )
    if to:
        path += Path(source).name if path.endswith("/") else ""
        return Sides(vm, path, source, is_upload=True)
    here = Path(target)
    here = here / path.rpartition("/")[2] if here.is_dir() else here
    # It would get a file's name: /dev/null would be one from then on.
    if here.exists() and not here.is_file():
        raise InventoryError(f"cp: {here} is no file", cure="name a file that is to be there")
    return Sides(vm, path, str(here), is_upload=False)


class Copied(NamedTuple):
    """What came of a copy: how many bytes, or the error. Without one the file is whole."""

    vm: str
    worker: str
    source: str
    target: str
    size: int = 0
    error: VmopsError | None = None


def upload(route: Route, vm: VM, source: Path, target: str) -> Copied:
    """Bring a file here to a path of the guest, with its permissions; one there is replaced.

    It gets its name when it is whole; what was cut may leave `TARGET.vmops-part`. Raises
    InventoryError where it cannot be read here; never another VmopsError.
    """
    done = Copied(vm.name, route.worker.name, str(source), target)
    try:
        with source.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            size = _sent(route, vm, file, f"{target}.vmops-part")
    except OSError as error:
        raise InventoryError(f"{source} cannot be read: {error.strerror}") from error
    except VmopsError as error:
        return done._replace(error=error)
    words = ["/bin/sh", "-c", _PLACE, "sh", f"{mode:o}", f"{target}.vmops-part", target]
    (moved,) = execute(route, [vm], words, timeout_s=_MOVE_LIMIT_S)
    failed = moved.error
    if failed is None and moved.ended is not None and moved.ended.exit_code:
        said = moved.ended.stderr.decode(errors="replace").strip()[:500]
        what = f"{target} could not be put in its place: {said}"
        cure = f"of a folder name the file in it: {typed(f'{vm.name}:{target}/{source.name}')}"
        failed = WorkFailed(what, worker=route.worker.name, vm=vm.name, cure=cure)
    return done._replace(size=size, error=failed)


def _sent(route: Route, vm: VM, file: IO[bytes], part: str) -> int:
    handle = _number(route, vm, agent.open_file(part, "w"))
    size = 0
    try:
        while True:
            pieces = [piece for _ in range(PIECES) if (piece := file.read(PIECE))]
            if not pieces:
                break
            for piece, answer in zip(
                pieces,
                _said(route, vm, [agent.write_file(handle, piece) for piece in pieces]),
                strict=True,
            ):
                if not isinstance(answer, dict) or answer.get("count") != len(piece):
                    raise unreadable_answer(route, vm.name, ValueError("it wrote another number"))
                size += len(piece)
    finally:
        with suppress(VmopsError):
            _said(route, vm, [agent.close_file(handle)])
    return size


def download(
    route: Route, vm: VM, source: str, target: Path, *, most_bytes: int = MOST_BYTES
) -> Copied:
    """Bring a file of the guest here; one that is here is replaced when the new one is whole.

    Raises InventoryError where it cannot be written here; never another VmopsError.
    """
    done = Copied(vm.name, route.worker.name, source, str(target))
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        try:
            with part.open("xb") as file:
                size = _fetched(route, vm, source, file, most_bytes)
            if route.transcript is None:
                part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InventoryError(f"{target} cannot be written: {error.strerror}") from error
    except VmopsError as error:
        return done._replace(error=error)
    return done._replace(size=size)


def _fetched(route: Route, vm: VM, source: str, file: IO[bytes], most_bytes: int) -> int:
    handle = _number(route, vm, agent.open_file(source, "r"))
    size, is_over = 0, route.transcript is not None
    try:
        while not is_over:
            for answer in _said(route, vm, [agent.read_file(handle, PIECE)] * PIECES):
                try:
                    data = agent.unpacked(answer, "buf-b64")
                except ValueError as strange:
                    raise unreadable_answer(route, vm.name, strange) from strange
                is_over = answer.get("eof") is True
                size += len(data)
                if len(data) > PIECE or not (data or is_over):
                    raise unreadable_answer(route, vm.name, ValueError("it read another number"))
                if size > most_bytes:
                    what = f"{source} has more than {most_bytes >> 20} MiB"
                    raise WorkFailed(what, worker=route.worker.name, vm=vm.name)
                file.write(data)
                if is_over:
                    break
    finally:
        with suppress(VmopsError):
            _said(route, vm, [agent.close_file(handle)])
    return size


def _number(route: Route, vm: VM, request: Line) -> int:
    (answer,) = _said(route, vm, [request])
    if route.transcript is not None:
        return 0
    try:
        return agent.read_number(answer)
    except ValueError as strange:
        raise unreadable_answer(route, vm.name, strange) from strange


def _said(route: Route, vm: VM, lines: Sequence[Line]) -> Sequence[Any]:
    """What the agent answers. Raises the error of a VM whose agent does not."""
    found: AgentHeard | VmopsError = talk(route, [AgentTalk(vm.name, tuple(lines))])[vm.name]
    if isinstance(found, VmopsError):
        raise found
    return found.answers
