"""The topology in the languages of programs that draw: Mermaid, DOT of Graphviz, D2."""

from __future__ import annotations

import json
from collections.abc import Iterator

from vmops.core.plan.graph.topology import TUNNELS, Card, Place, Topology, links


def mermaid(topology: Topology) -> str:
    """A flowchart: a subgraph for each worker, a stadium for each network."""
    lines = ["flowchart TB"]
    for number, place in enumerate(topology.places, start=1):
        lines.append(f"  subgraph w{number}[{_mermaid(place.name)}]")
        lines += [f"    {key}[{_mermaid(_title(card))}]" for key, card in _keyed(number, place)]
        lines.append("  end")
    for net in topology.nets:
        lines.append(f"  n{net.vlan_id}([{_mermaid(net.label)}])")
        lines.append(f"  style n{net.vlan_id} fill:{net.colour},stroke:{net.colour},color:#fff")
    for number, place in enumerate(topology.places, start=1):
        for key, card in _keyed(number, place):
            lines += [
                f"  {key} ---|{_mermaid(port.name)}| n{vlan}" for _, port, vlan in links([card])
            ]
    if topology.mesh:
        lines.append(f"  mesh{{{{{_mermaid(TUNNELS)}}}}}")
        lines += [f"  mesh -.- w{number}" for number in _in_mesh(topology)]
    return "\n".join(lines) + "\n"


def dot(topology: Topology) -> str:
    """A graph for `dot` or `neato`: a cluster for each worker."""
    lines = [
        "graph vmops {",
        '  graph [rankdir=TB, fontname="Helvetica", compound=true];',
        '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="Helvetica"];',
        '  edge [fontname="Helvetica", fontsize=10];',
    ]
    for number, place in enumerate(topology.places, start=1):
        lines.append(f"  subgraph cluster_w{number} {{")
        lines.append(f"    label={_quoted(place.name)}; style=rounded;")
        lines += [
            f"    {key} [label={_quoted(_title(card))}];" for key, card in _keyed(number, place)
        ]
        # An edge leads to a node, and a worker may be without a VM.
        lines += [f"    t{number} [shape=point];"] if number in _in_mesh(topology) else []
        lines.append("  }")
    for net in topology.nets:
        style = f'fillcolor="{net.colour}", color="{net.colour}", fontcolor=white'
        lines.append(f"  n{net.vlan_id} [label={_quoted(net.label)}, shape=oval, {style}];")
    colours = {net.vlan_id: net.colour for net in topology.nets}
    for number, place in enumerate(topology.places, start=1):
        for key, card in _keyed(number, place):
            lines += [
                f'  {key} -- n{vlan} [label={_quoted(port.name)}, color="{colours[vlan]}"];'
                for _, port, vlan in links([card])
            ]
    if topology.mesh:
        lines.append(f'  mesh [label={_quoted(TUNNELS)}, shape=hexagon, style="dashed"];')
        lines += [f'  mesh -- t{number} [style="dashed"];' for number in _in_mesh(topology)]
    return "\n".join([*lines, "}", ""])


def d2(topology: Topology) -> str:
    """A diagram for `d2`: a container for each worker."""
    lines = []
    for number, place in enumerate(topology.places, start=1):
        lines.append(f"w{number}: {_quoted(place.name)} {{")
        lines += [f"  {key}: {_quoted(_title(card))}" for key, card in _keyed(number, place)]
        lines.append("}")
    for net in topology.nets:
        lines.append(f"n{net.vlan_id}: {_quoted(net.label)} {{")
        lines += [
            "  shape: oval",
            f'  style.fill: "{net.colour}"',
            '  style.font-color: "white"',
            "}",
        ]
    colours = {net.vlan_id: net.colour for net in topology.nets}
    for number, place in enumerate(topology.places, start=1):
        for key, card in _keyed(number, place):
            lines += [
                f"w{number}.{key} -- n{vlan}: {_quoted(port.name)} "
                f'{{style.stroke: "{colours[vlan]}"}}'
                for _, port, vlan in links([card])
            ]
    if topology.mesh:
        lines += [f"mesh: {_quoted(TUNNELS)} {{", "  shape: hexagon", "}"]
        lines += [f"mesh -- w{n}: {{style.stroke-dash: 4}}" for n in _in_mesh(topology)]
    return "\n".join(lines) + "\n"


def _in_mesh(topology: Topology) -> list[int]:
    """The workers that tunnels join, by their number."""
    places = enumerate(topology.places, start=1)
    return [number for number, place in places if place.name in topology.mesh]


def _keyed(number: int, place: Place) -> Iterator[tuple[str, Card]]:
    """The cards of a worker, each with a key that every language takes."""
    for turn, card in enumerate(place.cards, start=1):
        yield f"v{number}_{turn}", card


def _title(card: Card) -> str:
    return f"{card.name} ({card.state})" if card.state else card.name


def _quoted(text: str) -> str:
    return json.dumps(_plain(text), ensure_ascii=False)


def _mermaid(text: str) -> str:
    """In double quotes, in which Mermaid knows entities and no escapes."""
    special = {'"': "#quot;", "<": "#lt;", ">": "#gt;", "#": "#35;"}
    return '"' + "".join(special.get(each, each) for each in _plain(text)) + '"'


def _plain(text: str) -> str:
    return "".join(each for each in text if each.isprintable())
