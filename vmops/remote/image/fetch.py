"""An image that a worker fetches by itself: by its curl or wget, told of as it comes."""

from __future__ import annotations

import time

import fabric

from vmops.core.images.names import FOLDER, Base
from vmops.core.images.progress import Doing, Progress
from vmops.core.inventory.complaints import printable
from vmops.core.inventory.model import Worker
from vmops.errors import WorkFailed
from vmops.remote.image.program import CHECKS_AT_BYTES_S, PATIENCE_S, Program, is_count
from vmops.remote.image.transfer import Pushed, Report
from vmops.remote.ssh.connection import connection
from vmops.remote.ssh.transport import WorkerTransport

FETCHER = ("number.pl", "arrival.pl", "fetch.pl")

STAYS_FREE = 256 << 20
"""Bytes that a fetch leaves to the disks of the VMs there, however much comes."""

_WAITS_S = 150.0
_TRIES = 3


def fetch(
    worker: Worker,
    url: str,
    *,
    base: Base,
    on_progress: Report | None = None,
    config: fabric.Config | None = None,
) -> Pushed:
    """Have the worker fetch this image under the name of `base`, unless it is there already.

    What has another sha256 is removed there. When it is cut, or nobody listens any more, what has
    come stays as NAME.part, and the next fetch or push goes on behind it. Nothing goes over the
    operator's line: of the result, `sent` are the bytes that the worker got. Raises as `push` does,
    and WorkFailed where the address does not give it.
    """
    opened = connection(worker, config=config)
    for _ in range(_TRIES):
        fetching = _Fetching(opened.live_transport, worker.name, on_progress)
        try:
            fetched = fetching.run(url, base)
        finally:
            fetching.close()
        if fetched is not None:
            return fetched
        if not fetching.begun_at:
            break
    raise WorkFailed(
        f"what {printable(url)} gives is another image: its sha256 is {fetching.differs}",
        worker=worker.name,
        cure="correct url or sha256; many servers change an image under one name",
    )


class _Fetching:
    """One try. `differs` is the sha256 of what came instead; `begun_at` where it began."""

    def __init__(self, transport: WorkerTransport, worker: str, on_progress: Report | None) -> None:
        self.differs = "unknown"
        self.begun_at = 0
        self._worker = worker
        self._on_progress = on_progress
        self._program = Program(transport, worker, FETCHER)

    def close(self) -> None:
        """Close the channel; the worker keeps what has come, and fetches no more."""
        self._program.close()

    def run(self, url: str, base: Base) -> Pushed | None:
        """See `fetch`; None where it was not the promised one, or cannot be had in parts."""
        self._program.start([FOLDER, base.name, base.digest, str(STAYS_FREE)])
        self._program.ask(url)
        match self._program.hear(_WAITS_S):
            case ["there"]:
                return Pushed(was_there=True)
            case ["at", offset, "curl" | "wget"] if is_count(offset):
                self.begun_at = int(offset)
            case ["lacks"]:
                raise WorkFailed(
                    "there is neither curl nor wget to fetch an image with",
                    worker=self._worker,
                    cure="sudo apt install curl, there",
                )
            case words:
                raise self._program.refusal(words)
        return self._listen(url)

    def _listen(self, url: str) -> Pushed | None:
        began, at, total = time.monotonic(), self.begun_at, 0
        limit_s = PATIENCE_S * 2
        while True:
            words = self._program.hear(limit_s)
            match words:
                case ["got", offset, of] if is_count(offset) and is_count(of):
                    at, total = int(offset), max(int(of), int(offset))
                case ["checks"]:
                    limit_s = PATIENCE_S + max(at, total) / CHECKS_AT_BYTES_S
                case ["done"]:
                    return Pushed(sent=max(0, at - self.begun_at), resumed_at=self.begun_at)
                case ["differs", found]:
                    self.differs = printable(found)[:64]
                    return None
                case ["again"]:
                    self.differs = "unknown"
                    return None
                case ["source", *why]:
                    raise WorkFailed(
                        f"{printable(url)} could not be fetched: {printable(' '.join(why))[:300]}",
                        worker=self._worker,
                        cure="the same command goes on with what has come",
                    )
                case _:
                    raise self._program.refusal(words)
            if self._on_progress is not None:
                doing: Doing = "checking" if words == ["checks"] else "fetching"
                seconds = time.monotonic() - began
                self._on_progress(Progress(doing, at, total, self.begun_at, 0, seconds))
