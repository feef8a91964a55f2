"""Networks from the command line: graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vmops.errors import InventoryError, VmopsError, WorkFailed
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import finish, give, give_bytes, say
from vmops.tasks.frame.selection import groups_of_workers, inventory
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import each, show_dry
from vmops.tasks.written import FORCE, but_for_stdout, new_file

if TYPE_CHECKING:
    from vmops.core.plan.graph.topology import Seen, Topology
    from vmops.ops.route import Group
    from vmops.ops.vm.status import Survey

FORMATS = ("svg", "mermaid", "dot", "d2", "json")
_ENDINGS = {
    ".svg": "svg",
    ".mmd": "mermaid",
    ".dot": "dot",
    ".gv": "dot",
    ".d2": "d2",
    ".json": "json",
}

_SURE = {"unknown": 1, "paused": 2, "running": 2}
"""What is drawn of several states of one VM on several workers: the last of these, if any."""

_NO_FILE = {"web": "replaces a file, and --web makes none"}


@task(
    {
        "output": Option("The file to write; else, or for -, it goes to standard output."),
        "format": Option(
            "svg, mermaid, dot, d2 or json; default: what the file's name ends with, else svg.",
            options.one_of(*FORMATS),
        ),
        "force": FORCE._replace(not_with=_NO_FILE),
        "offline": Option("Draw hosts.toml alone, and ask no worker what runs."),
        "web": Option("Show it in a browser, anew every 3 seconds, until Ctrl-C."),
        "port": Option(
            "With --web: a port of this machine (default: any).", options.a_port, only_with="web"
        ),
        "browser": Option("With --web: start a browser (default)."),
    },
    asks_again=True,
)
def graph(
    c: Context,
    output: str | None = None,
    format: str | None = None,
    force: bool = False,
    offline: bool = False,
    web: bool = False,
    port: int = 0,
    browser: bool = True,
) -> None:
    """
    Draw the topology: workers, their VMs, the networks between them, and what runs.

    As SVG, or as text for Mermaid, Graphviz or D2. A worker that cannot be asked is drawn as such,
    and the exit code is 3. Example: fab graph --output lab.svg
    """
    from vmops.core.plan.graph.topology import Seen, topology

    if web:
        if output is not None or format is not None:
            raise InventoryError(
                "graph: --web shows a page, and makes no file", cure="leave out --output, --format"
            )
        _show(c, offline=offline, port=port, start=browser)
        return
    output = but_for_stdout(output)
    kind = format or (_ENDINGS.get(Path(output).suffix.lower(), "") if output else "svg")
    if not kind:
        known = ", ".join(_ENDINGS)
        raise InventoryError(f"--output {output}: ends with none of {known}", cure="say --format")
    file = None if output is None else new_file(output, option="--output", force=force)
    listed = inventory(c)
    seen, errors = Seen(offline=offline), list[VmopsError]()
    if not offline:
        groups = groups_of_workers(c, None, moved=True)
        if show_dry(c, groups, _look):
            return
        seen, errors = _seen(each(groups, _look))
    text = _written(topology(listed, seen), kind, Path(listed.source).name)
    if file is None:
        give_bytes(text.encode())
    else:
        _write(file, text)
    finish(errors)


def _show(c: Context, *, offline: bool, port: int, start: bool) -> None:
    """The page, until Ctrl-C. The workers are asked while somebody has it open."""
    from contextlib import nullcontext

    from vmops.core.plan.graph.svg import picture
    from vmops.core.plan.graph.topology import Seen, topology
    from vmops.tasks.guest import viewing
    from vmops.tasks.proof.graph_screens import GraphScreens
    from vmops.tasks.proof.graph_web import Look, PictureServer, Shown
    from vmops.wait import wait_for

    listed = inventory(c)
    title = Path(listed.source).name
    groups = [] if offline else groups_of_workers(c, None, moved=True)
    if groups and show_dry(c, groups, _look):
        return

    screens = GraphScreens(groups)

    def drawn() -> Shown:
        seen = Seen(offline=True) if offline else _seen(each(groups, _look))[0]
        made = picture(topology(listed, seen), title=title)
        return Shown(made, screens.of(seen))

    serving = PictureServer(Look(drawn), title=title, port=port, screen=screens.url)
    with viewing.signals_noted() as over, screens, serving as server:
        url = server.url()
        give(f"in a browser: {url}")
        say("Ctrl-C ends it")
        with viewing.browser(url) if start else nullcontext():
            while not wait_for(lambda: over() or None, 60):
                pass


def _look(group: Group) -> list[Survey]:
    from vmops.ops.vm.status import survey

    return [survey(group.route, group.vms, monitors=False)]


def _seen(surveys: list[Survey]) -> tuple[Seen, list[VmopsError]]:
    from vmops.core.plan.graph.topology import Seen
    from vmops.ops.vm.status import merged

    found = merged(surveys)
    # Where it runs is known, whichever other worker could not be asked. That it is stopped is not.
    in_order = sorted(found.vms, key=lambda vm: _SURE.get(vm.state, 0))
    states = {vm.vm: (vm.state, vm.worker) for vm in in_order}
    lost = {error.worker for error in found.errors if error.worker}
    return Seen(states, frozenset(lost)), list(found.errors)


def _written(drawn: Topology, kind: str, title: str) -> str:
    from vmops.core.plan.graph import languages
    from vmops.core.plan.graph.svg import svg
    from vmops.core.plan.graph.topology import as_dict

    if kind == "svg":
        return svg(drawn, title=title)
    if kind == "json":
        import json

        return json.dumps(as_dict(drawn), indent=2) + "\n"
    words = {"mermaid": languages.mermaid, "dot": languages.dot, "d2": languages.d2}
    return words[kind](drawn)


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WorkFailed(f"cannot write {output}: {error.strerror}") from error
    say(f"{output} is written")
