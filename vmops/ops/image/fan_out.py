"""Images that go over the operator's line once, and on from worker to worker.

Every worker that has one gives it to one other at a time, so those that have it double. What cannot
go this way goes over the operator's line, and says why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from vmops.core.inventory.image import Image
from vmops.errors import VmopsError, WorkFailed
from vmops.ops.fleet import on_each
from vmops.ops.image.folder import Found, look
from vmops.ops.image.local import base_of, base_of_opened, opened, path_of
from vmops.ops.image.transfers import Brought, Tell, bring, nobody
from vmops.ops.route import Group, Route
from vmops.remote.image.beside import Handed, hand_on
from vmops.remote.image.transfer import Pushed
from vmops.remote.once import End


class FanOut:
    """One fan-out to the workers of these groups. Each of them calls `bring`, at the same time."""

    def __init__(self, groups: Sequence[Group], images: Sequence[Image]) -> None:
        self._groups = groups
        self._lock = threading.Lock()
        self._spreads: dict[str, _Spread] = {}
        self._images = images

    def bring(self, route: Route, *, tell: Tell = nobody) -> list[Brought]:
        """Bring the images to the worker, one after the other. Never raises a VmopsError."""
        if route.transcript is not None:
            return self._dry(route, tell)
        with self._lock:
            if not self._spreads:
                self._spreads = _looked(self._groups, self._images)
        return [self._spreads[image.name].bring(route, tell) for image in self._images]

    def _dry(self, route: Route, tell: Tell) -> list[Brought]:
        first = self._groups[0].route.worker
        if route.worker.name == first.name:
            return bring(route, self._images, tell=tell)
        assert route.transcript is not None, "it is a dry run"
        for image in self._images:
            words = f"# have a worker that has {path_of(image)} by then send it"
            route.transcript.noted(
                route.worker, f"{words} as {base_of(image).path}, unless it is there"
            )
        return []


def _looked(groups: Sequence[Group], images: Sequence[Image]) -> dict[str, _Spread]:
    """Who has what before anything is sent. A worker that cannot be asked tells of it later."""
    bases = {image.name: base_of(image) for image in images}
    wanted = set(bases.values())
    spreads = {image.name: _Spread(image) for image in images}
    most = dict.fromkeys(spreads, -1)

    def of_one(group: Group) -> Sequence[Found]:
        return look(group.route, bases, wanted=lambda one: one.base in wanted)

    for group, found in on_each(groups, of_one):
        for one in found:
            for name in one.names:
                spread, size = spreads[name], one.kept.size if one.kept else 0
                if one.kept is not None and one.kept.is_whole:
                    spread.has(group.route)
                elif size > most[name]:
                    most[name], spread.first = size, group.route
    return spreads


class _Spread:
    """One image on its way. `first` is whom it is sent to from here: who has most of it."""

    def __init__(self, image: Image) -> None:
        self.first: Route | None = None
        self._image = image
        self._news = threading.Condition()
        self._have: set[str] = set()
        self._free: list[Route] = []
        self._is_sent = False
        self._done: dict[str, Brought] = {}
        self._whys: dict[str, str] = {}
        self._ways = 0
        self._hopeless = ""

    def has(self, route: Route) -> None:
        """The worker has it now, and nothing else to do."""
        self._have.add(route.worker.name)
        self._free.append(route)

    def bring(self, route: Route, tell: Tell) -> Brought:
        """See `FanOut.bring`."""
        name = route.worker.name
        while True:
            with self._news:
                if found := self._done.get(name):
                    return found
                if name in self._have:
                    return Brought(self._image.name, name, base_of(self._image))
                if self._hopeless:
                    break
                if self._free:
                    giver = self._free.pop(0)
                elif not self._have and not self._is_sent:
                    giver, self._is_sent = None, True
                else:
                    self._news.wait()
                    continue
            if giver is None:
                self._send(self.first or route, tell)
            elif found := self._handed_on(giver, route, tell):
                return found
            else:
                break
        (found,) = bring(route, [self._image], tell=tell)
        if found.error is None:
            with self._news:
                self.has(route)
                self._news.notify_all()
        why = self._whys.get(name, self._hopeless)
        if not found.changed:
            return found
        return found._replace(notes=(f"{self._image.name} on {name}: sent from here, as {why}",))

    def _send(self, route: Route, tell: Tell) -> None:
        """Over the operator's line, to one: whoever comes after goes on from there."""
        (found,) = bring(route, [self._image], tell=tell)
        with self._news:
            self._is_sent, self.first = False, None
            self._done[route.worker.name] = found
            if found.error is None:
                self.has(route)
            self._news.notify_all()

    def _handed_on(self, giver: Route, taker: Route, tell: Tell) -> Brought | None:
        """From one to the other; None where these two cannot do it."""
        name, began = taker.worker.name, time.monotonic()
        is_good = True
        try:
            handed = _handed(giver, taker, self._image, tell)
            is_good = not handed.is_another
            found = None if handed.why else self._brought(giver, taker, handed.pushed)
        except VmopsError as error:
            handed = Handed()
            found = Brought(self._image.name, name, error=error)
        tell(self._image.name, name, None)
        with self._news:
            if handed.why:
                self._whys[name] = f"{giver.worker.name} cannot send it there: {handed.why}"
            if handed.why and not self._ways:
                self._hopeless = self._whys[name]
            if is_good:
                self._free.append(giver)
            else:
                self._have.discard(giver.worker.name)
            if found is not None and found.error is None:
                self._ways += 1
                self.has(taker)
            self._news.notify_all()
        return found and found._replace(seconds=time.monotonic() - began)

    def _brought(self, giver: Route, taker: Route, pushed: Pushed) -> Brought:
        return Brought(
            self._image.name,
            taker.worker.name,
            base_of(self._image),
            changed=not pushed.was_there,
            sent=pushed.sent,
            resumed_at=pushed.resumed_at,
            giver="" if pushed.was_there else giver.worker.name,
        )


def _handed(giver: Route, taker: Route, image: Image, tell: Tell) -> Handed:
    """Raises VmopsError for what the taker fails at."""
    name = taker.worker.name
    try:
        with opened(image) as file:
            return hand_on(
                End(giver.worker, giver.config),
                End(taker.worker, taker.config),
                file,
                base=base_of_opened(image, file),
                on_progress=lambda progress: tell(image.name, name, progress),
            )
    except (OSError, ValueError) as error:
        what = f"images.{image.name}: its file cannot be read: {error}"
        raise WorkFailed(what, worker=name) from error
