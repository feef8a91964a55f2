"""What `verify` found, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmops.tasks.frame.work import text_of

if TYPE_CHECKING:
    from vmops.core.plan.proof.evidence import Pair
    from vmops.core.plan.proof.pings import Ping
    from vmops.core.plan.proof.services import Passage
    from vmops.errors import VmopsError
    from vmops.ops.proof.prove import Proven


def as_list(found: Proven) -> list[dict[str, Any]]:
    """An object for each pair, service and echo; and one for each fault, in words."""
    return [
        *(_pair_as_dict(pair) for pair in found.proof.pairs),
        *(_passage_as_dict(passage) for passage in found.passages),
        *(_ping_as_dict(ping) for ping in found.pings),
        *(_fault_as_dict(error) for error in found.errors),
    ]


def _pair_as_dict(pair: Pair) -> dict[str, Any]:
    words = {True: "reach", False: "apart", None: "unknown"}
    return {
        "kind": "pair",
        "from": pair.source.name,
        "to": pair.target.name,
        "from_worker": pair.source.worker,
        "to_worker": pair.target.worker,
        "from_vlans": list(pair.source.vlans),
        "to_vlans": list(pair.target.vlans),
        "from_network": pair.source.drawn.nic.interface.network,
        "to_network": pair.target.drawn.nic.interface.network,
        "wanted": words[pair.wanted],
        "found": words[pair.found],
        "ok": pair.ok,
        "error": None,
    }


def _passage_as_dict(passage: Passage) -> dict[str, Any]:
    words = {True: "open", False: "shut", None: "unknown"}
    return {
        "kind": "service",
        "network": passage.network,
        "service": passage.service,
        "to": passage.to or None,
        "wanted": words[passage.wanted],
        "found": words[passage.found],
        "counted": passage.counted,
        "ok": passage.ok,
        "error": None,
    }


def _ping_as_dict(ping: Ping) -> dict[str, Any]:
    words = {True: "answers", False: "silent", None: "unknown"}
    return {
        "kind": "ping",
        "from": ping.source,
        "from_worker": ping.worker,
        "to": ping.target,
        "address": ping.address,
        "wanted": words[ping.wanted],
        "found": words[ping.found],
        "ok": ping.ok,
        "error": None,
    }


def _fault_as_dict(error: VmopsError) -> dict[str, Any]:
    return {
        "kind": "fault",
        "worker": error.worker or None,
        "vm": error.vm or None,
        "interface": error.interface or None,
        "ok": False,
        "error": text_of([error]),
    }
