"""A VM's screen in a viewer, or in a browser, for as long as the command runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType
from typing import TYPE_CHECKING

from vmops.errors import InventoryError, NotRunning, WorkFailed
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import complain, give, give_json, say
from vmops.tasks.frame.selection import groups_with_lost
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import each, show_dry
from vmops.wait import wait_for

if TYPE_CHECKING:
    import subprocess

    from vmops.ops.guest.vnc import Access
    from vmops.ops.route import Group


@task(
    {
        "vm": options.ONE_VM,
        "port": Option("The port on this machine (default: a free one).", options.a_port),
        "web": Option("Use a browser, with noVNC."),
        "viewer": Option("Start a viewer, if one is installed (default)."),
        "browser": Option("With --web: start a browser (default)."),
        "format": options.FORMAT,
    },
    asks_again=True,
)
def vnc(
    c: Context,
    vm: str | None = None,
    port: int = 0,
    web: bool = False,
    viewer: bool = True,
    browser: bool = True,
    format: str = "text",
) -> None:
    """
    Show a VM's screen: forward its VNC port to this machine and start a viewer.

    Prints the address and the password, which is void after Ctrl-C or the viewer's end.
    With --web it is shown in a browser.
    Example: fab vnc --vm vm1
    """
    as_json = format == options.JSON
    group = _only(c, vm)
    if show_dry(c, [group], _lend):
        return
    from vmops.core.devices import display
    from vmops.ops.guest.vnc import Access, connect, find, forward
    from vmops.tasks.guest import viewing

    novnc = _novnc() if web else None
    folder = novnc.files() if novnc else None
    ((group, (screen, process)),) = each([group], lambda g: [(g, find(g.route, g.vms[0]))])
    route, chosen = group.route, group.vms[0]
    warning = display.risk(chosen.name, route.worker.name, screen)
    if warning:
        say(f"warning: {warning}")
    with viewing.signals_noted() as over, Access(route, chosen, screen, process) as access:
        if novnc:
            with novnc.Gateway(folder, lambda: connect(route, screen), port=port) as gateway:
                url = gateway.url(access.password)
                _announce(access, gateway.port, as_json=as_json, url=url)
                with viewing.browser(url) if browser else nullcontext():
                    _stay(access, over, None)
        else:
            with forward(route, screen, local_port=port) as led:
                _announce(access, led.port, as_json=as_json)
                shown = viewing.viewer(led.port, access.password) if viewer else nullcontext()
                with shown as program:
                    _stay(access, over, program)


def _only(c: Context, vm: str | None) -> Group:
    groups = groups_with_lost(c, vm, task="vnc", early=False)
    count = sum(len(group.vms) for group in groups)
    if count > 1:
        raise InventoryError(
            f"vnc shows one VM at a time, and {vm!r} means {count}",
            cure="the screens of several on one picture: fab screenshot",
        )
    return groups[0]


def _lend(group: Group) -> None:
    """For `--dry`: the password is no secret, nobody gets in with it."""
    from vmops.core.devices.display import PASSWORD_LENGTH, lend
    from vmops.ops.guest.monitors import ask
    from vmops.ops.guest.vnc import LEASE_S

    (vm,) = group.vms
    ask(group.route, [vm.name], *lend("*" * PASSWORD_LENGTH, seconds=LEASE_S))


def _novnc() -> ModuleType:
    try:
        from vmops.ops.guest import novnc
    except ModuleNotFoundError as missing:
        raise WorkFailed(
            f"noVNC in a browser needs {missing.name}, which is not installed here",
            cure="pip install 'vmops[web]', or leave out --web",
        ) from missing
    return novnc


def _announce(access: Access, port: int, *, as_json: bool, url: str = "") -> None:
    if as_json:
        give_json(
            {
                "vm": access.vm,
                "worker": access.worker,
                "address": "127.0.0.1",
                "port": port,
                "password": access.password or None,
                "url": url or None,
                "error": None,
            }
        )
    else:
        secret = f"password {access.password}" if access.password else "no password"
        where = f"in a browser: {url}" if url else f"VNC on 127.0.0.1:{port}, {secret}"
        give(f"{access.vm} on {access.worker}: {where}")
    say("Ctrl-C ends it" + (", and the password is void then" if access.password else ""))


def _stay(
    access: Access, over: Callable[[], bool], process: subprocess.Popen[bytes] | None
) -> None:
    """Until it is over, or the viewer is.

    Raises NotRunning when the VM is gone and WorkerUnreachable when its worker is. A worker or a
    monitor that does not answer is told, once, and ends nothing: who looks at the screen goes on.
    """
    from vmops.ops.guest.vnc import LOOK_EVERY_S, LOOKS_PER_EXTENSION

    def ended() -> int | None:
        if over():
            return 0
        return process.poll() if process else None

    told = ""
    looks = itertools.count(1)
    while (code := wait_for(ended, LOOK_EVERY_S)) is None:
        try:
            access.look()
            if next(looks) % LOOKS_PER_EXTENSION == 0:
                access.extend()
                told = ""
        except NotRunning:
            raise
        except WorkFailed as error:
            if str(error) != told:
                complain([error])
            told = str(error)
    if code:
        raise WorkFailed(
            f"the viewer ended with exit code {code}",
            cure=f"fab vnc --vm {access.vm} --no-viewer, and a viewer of your choice",
        )
