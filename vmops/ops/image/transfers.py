"""Images brought to a worker: sent from here, or fetched by it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from vmops.core.images.names import Base
from vmops.core.images.progress import Progress
from vmops.core.inventory.complaints import printable
from vmops.core.inventory.image import Image
from vmops.errors import VmopsError, WorkFailed
from vmops.ops.image.local import base_of_opened, opened, path_of
from vmops.ops.route import Route


class Brought(NamedTuple):
    """What came of one image on one worker. `changed` is that it was not there before; `sent` are
    the bytes that went over the line, or that the worker got; `resumed_at` where it went on;
    `giver` the worker that has sent it, empty for this machine and for a url."""

    image: str
    worker: str
    base: Base | None = None
    changed: bool = False
    sent: int = 0
    resumed_at: int = 0
    seconds: float = 0.0
    error: VmopsError | None = None
    giver: str = ""
    notes: tuple[str, ...] = ()


Tell = Callable[[str, str, Progress | None], None]
"""How far an image (its name) on a worker (its name) is; None is that it is over."""


def nobody(image: str, worker: str, progress: Progress | None) -> None:
    """Tells nobody."""


def bring(route: Route, images: Sequence[Image], *, tell: Tell = nobody) -> list[Brought]:
    """Bring these images to the worker, one after the other; those that are there are left.

    What is cut stays there as NAME.part, and the next time goes on behind it. Never raises a
    VmopsError.
    """
    return [_bring(route, image, tell) for image in images]


def _bring(route: Route, image: Image, tell: Tell) -> Brought:
    name, worker = image.name, route.worker.name
    began = time.monotonic()
    try:
        found = _brought(route, image, lambda progress: tell(name, worker, progress))
    except VmopsError as error:
        found = Brought(name, worker, error=error)
    except (OSError, ValueError) as error:
        what = f"images.{name}: its file cannot be read: {error}"
        found = Brought(name, worker, error=WorkFailed(what, worker=worker))
    tell(name, worker, None)
    return found._replace(seconds=time.monotonic() - began)


def _brought(route: Route, image: Image, on_progress: Callable[[Progress], None]) -> Brought:
    worker = route.worker
    if image.url is not None:
        assert image.sha256 is not None, "a url comes with its sum"
        base = Base(image.sha256, image.format)
        if route.transcript is not None:
            words = f"# as the SSH user: curl {printable(image.url)} >{base.path}"
            route.transcript.noted(worker, f"{words}, unless it is there")
            return Brought(image.name, worker.name, base)
        from vmops.remote.image.fetch import fetch

        done = fetch(worker, image.url, base=base, on_progress=on_progress, config=route.config)
    else:
        with opened(image) as file:
            base = base_of_opened(image, file)
            if route.transcript is not None:
                words = f"# send {path_of(image)} as {base.path}, unless it is there"
                route.transcript.noted(worker, words)
                return Brought(image.name, worker.name, base)
            from vmops.remote.image.transfer import push

            done = push(worker, file, base=base, on_progress=on_progress, config=route.config)
    return Brought(
        image.name,
        worker.name,
        base,
        changed=not done.was_there,
        sent=done.sent,
        resumed_at=done.resumed_at,
    )
