"""Networks from the command line: trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import finish, give_json, give_table, say
from vmops.tasks.frame.selection import inventory
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import errors_of, show_dry, text_of

if TYPE_CHECKING:
    from vmops.core.plan.proof.story import Story


@task(
    {
        "from_": Option(
            "VM and interface, such as web1:eth0; the interface may be left out.",
            names="ends",
            required=True,
        ),
        "to": Option(
            "VM and interface that it is to reach; the interface may be left out.",
            names="ends",
            required=True,
        ),
        "vm": Option("The same as --from: what ping calls it.", names="ends"),
        "flow": Option(
            "More of the frame, in the words of ovs-ofctl, such as tcp,tp_dst=22; in networks of"
            " OVN in its own, such as 'tcp.dst == 22'."
        ),
        "format": options.FORMAT,
    }
)
def trace(
    c: Context,
    from_: str | None = None,
    to: str | None = None,
    vm: str | None = None,
    flow: str | None = None,
    format: str = "text",
) -> Story | None:
    """
    Show the way of a frame from one VM to another, and where it ends if it does not arrive.

    Flow by flow through the bridges of both workers; that it comes across the switch between is
    tried with real frames. In networks of OVN, stage by stage through its switches and router, and
    where the port is bound. Exit code 0 when it arrives, 1 when not.
    Example: fab trace --from web1:eth0 --to web3
    """
    from vmops.ops.proof.trace import show
    from vmops.ops.proof.trace import trace as follow
    from vmops.tasks.proof.places import both, groups_around, one_of_two, with_moved

    from_ = one_of_two("trace", {"--from": from_, "--vm": vm})
    if from_ is None or to is None:
        raise InventoryError("trace: from where to where?", cure="fab trace --from web1 --to web2")
    way = both(c, from_, to)
    groups = groups_around(c, *way)
    listed, more = inventory(c), flow or ""
    if show_dry(c, groups, lambda group: show(group, way, listed=listed, flow=more)):
        return None
    groups = with_moved(c, groups)
    story = follow(groups, way, listed=listed, flow=more)
    if format == options.JSON:
        give_json(_as_dict(story))
    else:
        rows = [
            [str(number), step.worker or "between", "ok" if step.ok else "ENDS", step.text]
            for number, step in enumerate(story.passages, start=1)
        ]
        give_table(("", "WHERE", "", "WHAT"), rows)
    finish(errors_of(story))
    if format != options.JSON:
        say(f"frames of {story.source} come to {story.target}")
    return story


def _as_dict(story: Story) -> dict[str, Any]:
    return {
        "from": story.source,
        "to": story.target,
        "arrives": story.error is None,
        "steps": [
            {"worker": step.worker or None, "text": step.text, "ok": step.ok}
            for step in story.passages
        ],
        "error": text_of(errors_of(story)),
    }
