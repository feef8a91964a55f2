"""Delay and loss at running VMs' interfaces, from the command line: net.impair."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vmops.core.inventory.complaints import key_path
from vmops.core.inventory.networks.impairment import (
    KEYS,
    UNIMPAIRED,
    WAYS,
    Impaired,
    impaired,
    impairment_faults,
)
from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.outcomes import changed_as_dict, said
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work
from vmops.tasks.vm.nic import NIC, chosen

if TYPE_CHECKING:
    from vmops.ops.vm.outcome import Outcome


def _as_in_hosts_toml(key: str) -> Callable[[Any], str | None]:
    """The rule of the key, which 0 passes: not impaired."""

    def rule(value: Any) -> str | None:
        from vmops.core.inventory.rules import INTERFACE

        return INTERFACE[key].objection(value) if value else None

    return rule


@task(
    {
        "vm": NIC,
        "delay_ms": Option("Delay each frame by so much, each way.", _as_in_hosts_toml("delay_ms")),
        "jitter_ms": Option(
            "Let the delay be so much more or less.", _as_in_hosts_toml("jitter_ms")
        ),
        "loss_pct": Option("Lose so many frames of a hundred.", _as_in_hosts_toml("loss_pct")),
        "rate_mbit": Option("Let no more than this through.", _as_in_hosts_toml("rate_mbit")),
        "impaired": Option(
            "both (default), in (what the guest gets) or out (what it sends).",
            options.one_of(*WAYS),
        ),
        "clear": Option("Impair it no more."),
        "format": options.FORMAT,
    }
)
def impair(
    c: Context,
    vm: str | None = None,
    delay_ms: float = 0.0,
    jitter_ms: float = 0.0,
    loss_pct: float = 0.0,
    rate_mbit: float = 0.0,
    impaired: str = "both",
    clear: bool = False,
    format: str = "text",
) -> Work[Outcome]:
    """
    Delay or lose frames of an interface, or slow it down, while its VM runs; or stop that.

    What is not given is not impaired. `plan` tells where it differs from hosts.toml, and `up` makes
    it as that says. Example: fab net.impair --vm web1:eth0 --delay-ms 50
    """
    from vmops.ops.vm.live.links import set_impaired

    given = (delay_ms, jitter_ms, loss_pct, rate_mbit)
    values = {**dict(zip(KEYS, given, strict=True)), "impaired": impaired}
    wanted = _wanted(values, clear=clear)
    groups, name = chosen(c, vm, task="net.impair")
    return Work(
        groups,
        lambda g: set_impaired(g.route, g.vms, name=name, wanted=wanted),
        Report(said(lambda o: _said(name, wanted, changed=o.changed)), changed_as_dict),
    )


def _wanted(values: dict[str, Any], *, clear: bool) -> Impaired:
    for fault in impairment_faults(values):
        words = f"--{options.as_option(key_path(fault.path))} {fault.said}"
        raise InventoryError(words, cure="fab --help net.impair")
    wanted = impaired(values)
    if clear and wanted != UNIMPAIRED:
        raise InventoryError("--clear: not together with what impairs", cure="give one of them")
    if not clear and wanted == UNIMPAIRED:
        cure = "say how, such as --delay-ms 50, or --clear"
        raise InventoryError("net.impair: what is to be wrong with it?", cure=cure)
    return wanted


def _said(name: str, wanted: Impaired, *, changed: bool) -> str:
    now = "is now" if changed else "was already"
    if wanted == UNIMPAIRED:
        return f"{name} {'is no more' if changed else 'was not'} impaired"
    return f"{name} {now} impaired: {wanted}"
