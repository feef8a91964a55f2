"""The steps that make a network, change it where it runs, and remove it. Each can be done again."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from vmops.core.devices.network import dnsmasq, firewall
from vmops.core.devices.network.service import Service
from vmops.core.names import NetworkNames
from vmops.core.script.command import Command, Step, command, only_if

MAKE, LINK, REMOVE, NOTE = "make", "link", "remove", "note"


def making(wanted: Service, *, was: Service | None, new: bool) -> Step:
    """All of a network but its links to others. Undone, it is as it was before, or gone."""
    undo = (*_made(was), _noted(was)) if was is not None and not new else (_removed(wanted.names),)
    return Step(
        f"{MAKE} {wanted.name}",
        tuple(_made(wanted)),
        undo=tuple(undo),
        may_fail=True,
        sets=(_flag(wanted.names),),
        about=(wanted.name,),
    )


def _flag(names: NetworkNames) -> str:
    return f"n{names.short}"


def _made(wanted: Service) -> Iterator[Command]:
    names = wanted.names
    address = f"{wanted.gateway}/{wanted.prefix}"
    mtu = (str(wanted.mtu),) if wanted.mtu is not None else ()
    yield command(
        "make_network",
        *(wanted.name, names.short, wanted.bridge, str(wanted.vlan_id), address, *mtu),
    )
    yield command("load_rules", wanted.name, stdin=firewall.inside(wanted).encode())
    yield command(
        "keep_links", wanted.name, *(NetworkNames(peer.network).link for peer in wanted.reach)
    )
    if wanted.uplink:
        guard = firewall.around_uplink(wanted.uplink).encode()
        yield command("load_node_rules", stdin=firewall.on_the_node(wanted).encode())
        yield command(
            "make_way_out", wanted.name, names.short, wanted.uplink, wanted.outer, wanted.inner
        )
        yield command(
            "open_uplink", wanted.uplink, firewall.uplink_table(wanted.uplink), stdin=guard
        )
    else:
        yield command("remove_way_out", wanted.name, names.short)
    if wanted.talks:
        for name, text in dnsmasq.files(wanted).items():
            yield command("write_network_file", wanted.name, name, stdin=text.encode())
        yield command("serve_network", wanted.name)
    else:
        yield command("hush_network", wanted.name)


def linking(one: Service, other: Service) -> Step:
    """The link between two networks that reach each other, where both are there."""
    return Step(
        f"{LINK} {one.name} {other.name}",
        (
            command(
                "link_networks",
                *(one.name, one.names.short, one.gateway, one.subnet),
                *(other.name, other.names.short, other.gateway, other.subnet),
            ),
        ),
        may_fail=True,
        about=(one.name, other.name),
    )


def noting(wanted: Service) -> Step:
    """Write down what was asked and what came of it, where it was made: a network's last step."""
    note = only_if(_flag(wanted.names), _noted(wanted))
    return Step(f"{NOTE} {wanted.name}", (note,), may_fail=True, about=(wanted.name,))


def _noted(wanted: Service) -> Command:
    return command("note_network", wanted.name, stdin=f"{wanted.to_json()}\n".encode())


def pictures(networks: Collection[str]) -> Step:
    """Look again at networks that others have changed: their links went or came."""
    return Step("look again", (command("note_picture", *networks),), may_fail=True)


def removing(network: str) -> Step:
    """Everything of a network; what is gone already is fine."""
    return Step(
        f"{REMOVE} {network}", (_removed(NetworkNames(network)),), may_fail=True, about=(network,)
    )


def _removed(names: NetworkNames) -> Command:
    return command("remove_network", names.network, names.short)
