"""The screens that the page of `graph --web` leads to: those of VMs that run, by noVNC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from vmops.errors import NotRunning, VmopsError
from vmops.tasks.frame.output import complain, in_words, say

if TYPE_CHECKING:
    from vmops.core.plan.graph.topology import Seen
    from vmops.ops.guest.screens import Screens
    from vmops.ops.route import Group

_SHOWN = ("running", "paused")


class GraphScreens:
    """Where VMs were last seen, and their screens while this is entered.

    Where noVNC is not on this machine, that is said once, and no VM has a screen.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = {group.route.worker.name: group for group in groups}
        self._at: dict[str, str] = {}
        self._screens: Screens | None = None

    def of(self, seen: Seen) -> frozenset[str]:
        """The VMs that have one."""
        if self._screens is None:
            return frozenset()
        self._at = {vm: at for vm, (state, at) in seen.states.items() if state in _SHOWN}
        return frozenset(self._at)

    def url(self, vm: str) -> str:
        """The address of a VM's screen. Raises a VmopsError."""
        group = self._groups.get(self._at.get(vm, ""))
        chosen = [one for one in group.vms if one.name == vm] if group is not None else []
        if self._screens is None or group is None or not chosen:
            raise NotRunning(f"{vm} does not run any more", vm=vm, cure="fab status")
        return self._screens.url(group.route, chosen[0])

    def __enter__(self) -> Self:
        if not self._groups:
            return self
        try:
            from vmops.ops.guest import novnc
            from vmops.ops.guest.screens import Screens

            self._screens = Screens(novnc.files())
        except ModuleNotFoundError as missing:
            cure = "pip install 'vmops[web]'"
            say(f"no links to screens: {missing.name} is not installed here; cure: {cure}")
        except VmopsError as error:
            say(f"no links to screens: {in_words(error)}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._screens is not None:
            complain(self._screens.close())
