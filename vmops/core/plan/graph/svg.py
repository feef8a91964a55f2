"""The topology as SVG: workers as boxes, VMs as cards in them, networks as coloured lines below.

Each interface has a line of its network's colour down to it, in a gap of its own beside the cards.
A dashed line above joins the workers of a mesh: each has a tunnel to each other.
Sizes are in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from vmops.core.plan.graph.topology import TUNNELS, Card, Net, Place, Topology

_FONT = "Inter, system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
_INK, _SOFT, _FAINT = "#1f2933", "#66727f", "#d8dee5"
_PAPER, _WORKER, _CARD = "#ffffff", "#f4f6f9", "#ffffff"

_MARGIN = 32
_LABEL_WIDTH = 292
_GAP = 28
_PAD = 16
_HEAD = 52
_CARD_WIDTH = 196
_CARD_HEAD = 46
_ROW = 20
_CARD_GAP = 14
_LANE = 13
_LANE_EDGE = 14
_BUS = 46
_BUS_TOP = 34
_LEAST_HEIGHT = 170
_MESH = 38
_MOST_IN_COLUMN = 5
_CHARACTER = 6.7

STATES = {
    "running": "#2c9c69",
    "paused": "#c9a012",
    "stopped": "#a9b4bf",
    "crashed": "#cf4a3c",
    "unknown": "#cf4a3c",
}
"""The colour of a VM's dot by its state."""


class _Pin(NamedTuple):
    """Where an interface's line begins, the place of its lane, and its network."""

    x: float
    y: float
    lane: float
    vlan_id: int


class Spot(NamedTuple):
    """Where a VM's card is."""

    vm: str
    x: float
    y: float
    width: float
    height: float


class Picture(NamedTuple):
    """A document, how large it is, and where its cards are."""

    text: str
    width: float
    height: float
    cards: tuple[Spot, ...]


class _Drawn(NamedTuple):
    """A worker as it was drawn, from `x` on."""

    shapes: list[str]
    pins: list[_Pin]
    cards: list[Spot]
    x: float
    width: float
    height: float


def svg(topology: Topology, *, title: str) -> str:
    """The whole picture, a document of its own without a script or a reference to another."""
    return picture(topology, title=title).text


def picture(topology: Topology, *, title: str) -> Picture:
    """The same, with where its cards are."""
    drawn: list[_Drawn] = []
    x: float = _MARGIN + _LABEL_WIDTH
    top = _MARGIN + (_MESH if topology.mesh else 0)
    height = max((_size(place)[1] for place in topology.places), default=_HEAD)
    height = max(height, _LEAST_HEIGHT)
    for place in topology.places:
        drawn.append(_worker(place, x, top, height))
        x += drawn[-1].width + _GAP
    width = max(x - _GAP + _MARGIN, 420)
    bus_top = top + height + _BUS_TOP
    pins = [pin for each in drawn for pin in each.pins]
    lines = [_bus(net, n, bus_top, pins, width) for n, net in enumerate(topology.nets)]
    whole = bus_top + _BUS * (len(topology.nets) - 1) + 18 + _MARGIN
    where = {net.vlan_id: bus_top + _BUS * n for n, net in enumerate(topology.nets)}
    colours = {net.vlan_id: net.colour for net in topology.nets}
    text = "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{whole:g}"'
            f' viewBox="0 0 {width:g} {whole:g}" font-family="{_FONT}" font-size="12">',
            f"<title>{_text(title)}</title>",
            f'<rect width="{width:g}" height="{whole:g}" fill="{_PAPER}"/>',
            *_heading(topology, title),
            *(shape for each in drawn for shape in each.shapes),
            *_mesh(topology, drawn, top),
            *lines,
            *(_link(pin, where[pin.vlan_id], colours[pin.vlan_id]) for pin in pins),
            "</svg>",
            "",
        ]
    )
    return Picture(text, width, whole, tuple(spot for each in drawn for spot in each.cards))


def _mesh(topology: Topology, drawn: Sequence[_Drawn], top: float) -> list[str]:
    """Above the workers: a line with an end at each of those that tunnels join."""
    both = zip(topology.places, drawn, strict=True)
    ends = [each.x + each.width / 2 for place, each in both if place.name in topology.mesh]
    if not ends:
        return []
    y = top - _MESH / 2
    way = f"M{ends[0]:g} {y:g}H{ends[-1]:g}" + "".join(f"M{x:g} {y:g}V{top:g}" for x in ends)
    dots = (f'<circle cx="{x:g}" cy="{top:g}" r="4.2" fill="{_SOFT}"/>' for x in ends)
    return [
        f'<path d="{way}" stroke="{_SOFT}" stroke-width="1.6" stroke-dasharray="6 4" fill="none"/>',
        *dots,
        _words(ends[0] + 10, y - 6, TUNNELS, fill=_SOFT, size=11.5),
    ]


def _columns(cards: Sequence[Card]) -> list[list[Card]]:
    """Cards in columns of some five, the first ones fullest."""
    count = max(1, -(-len(cards) // _MOST_IN_COLUMN))
    deep = max(1, -(-len(cards) // count))
    return [list(cards[at : at + deep]) for at in range(0, len(cards), deep)]


def _card_height(card: Card) -> float:
    return _CARD_HEAD + _ROW * max(1, len(card.ports)) + 6


def _gutter(column: Sequence[Card]) -> float:
    lanes = sum(len(port.vlans) for card in column for port in card.ports)
    return _LANE_EDGE + _LANE * lanes


def _size(place: Place) -> tuple[float, float]:
    columns = _columns(place.cards)
    width = sum(_CARD_WIDTH + _gutter(column) for column in columns) + _PAD
    tall = max(
        (sum(_card_height(card) + _CARD_GAP for card in column) for column in columns), default=0
    )
    name = len(place.name) * 8.4 + len(place.note) * _CHARACTER + 60
    return max(width + _PAD, name, 190), _HEAD + max(tall, 40) + 2


def _worker(place: Place, x: float, y: float, height: float) -> _Drawn:
    width, _ = _size(place)
    edge = "#cf4a3c" if place.lost else _FAINT
    shapes = [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="14"'
        f' fill="{_WORKER}" stroke="{edge}"/>',
        _words(x + _PAD, y + 31, place.name, size=15, weight=650),
        _words(
            x + width - _PAD,
            y + 31,
            "cannot be asked" if place.lost else place.note,
            fill="#cf4a3c" if place.lost else _SOFT,
            anchor="end",
        ),
    ]
    pins: list[_Pin] = []
    spots: list[Spot] = []
    left = x + _PAD
    for column in _columns(place.cards):
        lane = left + _CARD_WIDTH + _LANE_EDGE
        top = y + _HEAD
        lanes = sum(len(port.vlans) for card in column for port in card.ports)
        used = 0
        for card in column:
            shapes += _card(card, left, top)
            spots.append(Spot(card.name, left, top, _CARD_WIDTH, _card_height(card)))
            for number, port in enumerate(card.ports):
                at = top + _CARD_HEAD + _ROW * number + _ROW / 2 - 1
                for turn, vlan in enumerate(port.vlans):
                    shift = (turn - (len(port.vlans) - 1) / 2) * 8.5
                    place_of_lane = lane + _LANE * (lanes - 1 - used)
                    pins.append(_Pin(left + _CARD_WIDTH, at + shift, place_of_lane, vlan))
                    used += 1
            top += _card_height(card) + _CARD_GAP
        left += _CARD_WIDTH + _gutter(column)
    if not place.cards:
        shapes.append(_words(x + _PAD, y + _HEAD + 24, "no VMs", fill=_SOFT))
    return _Drawn(shapes, pins, spots, x, width, height)


def _card(card: Card, x: float, y: float) -> list[str]:
    height = _card_height(card)
    dashes = ' stroke-dasharray="5 4"' if card.state in ("stopped", "unknown") else ""
    shapes = [
        f'<rect x="{x:g}" y="{y:g}" width="{_CARD_WIDTH}" height="{height:g}" rx="9"'
        f' fill="{_CARD}" stroke="#c9d1da"{dashes}/>'
    ]
    shift = 0
    if card.state:
        shapes.append(_dot(x + 18, y + 18, card.state, STATES.get(card.state, _SOFT)))
        shift = 15
    shapes.append(_words(x + 13 + shift, y + 22.5, _cut(card.name, 20), size=13, weight=650))
    shapes.append(_words(x + 13, y + 38, card.note, fill=_SOFT, size=11))
    for number, port in enumerate(card.ports):
        at = y + _CARD_HEAD + _ROW * number + 13
        colour = _INK if port.vlans else _SOFT
        shapes.append(_words(x + 13, at, _cut(port.name, 9), fill=colour, size=11.5))
        note = port.address or ("" if port.vlans else "not connected")
        shapes.append(_words(x + _CARD_WIDTH - 14, at, note, fill=_SOFT, size=11.5, anchor="end"))
    return shapes


def _bus(net: Net, number: int, top: float, pins: Sequence[_Pin], width: float) -> str:
    y = top + _BUS * number
    mine = [pin.lane for pin in pins if pin.vlan_id == net.vlan_id]
    right = max(mine, default=_MARGIN + _LABEL_WIDTH - 20) + 16
    note = " · ".join(net.notes)
    label_width = _LABEL_WIDTH - 24
    return "\n".join(
        [
            f'<path d="M{_MARGIN + label_width:g} {y:g}H{min(right, width - _MARGIN / 2):g}"'
            f' stroke="{net.colour}" stroke-width="5" stroke-linecap="round" fill="none"/>',
            f'<rect x="{_MARGIN}" y="{y - 18:g}" width="{label_width}" height="36" rx="9"'
            f' fill="{net.colour}"/>',
            _words(
                _MARGIN + 13,
                y - 2 if note else y + 4.5,
                _cut(net.label, 30),
                fill="#ffffff",
                size=13,
                weight=650,
            ),
            _words(_MARGIN + 13, y + 12, _cut(note, 44), fill="#ffffff", size=10.5) if note else "",
        ]
    )


def _link(pin: _Pin, bus: float, colour: str) -> str:
    """From the card to the right, then down to its network, with a dot at either end."""
    bend = min(8.0, abs(pin.lane - pin.x))
    way = (
        f"M{pin.x:g} {pin.y:g}H{pin.lane - bend:g}Q{pin.lane:g} {pin.y:g} {pin.lane:g}"
        f" {pin.y + bend:g}V{bus:g}"
    )
    return (
        f'<path d="{way}" stroke="{_WORKER}" stroke-width="5.5" fill="none"/>'
        f'<path d="{way}" stroke="{colour}" stroke-width="2.2" fill="none"/>'
        f'<circle cx="{pin.x:g}" cy="{pin.y:g}" r="4.2" fill="{colour}" stroke="#fff"'
        ' stroke-width="1.4"/>'
        f'<circle cx="{pin.lane:g}" cy="{bus:g}" r="5.2" fill="#fff" stroke="{colour}"'
        ' stroke-width="2.6"/>'
    )


def _heading(topology: Topology, title: str) -> list[str]:
    """The title, what there is in numbers, and the states that occur, above the networks' names."""
    cards = [card for place in topology.places for card in place.cards]
    counts = ((len(topology.places), "worker"), (len(cards), "VM"), (len(topology.nets), "network"))
    numbers = " · ".join(f"{n} {what}{'' if n == 1 else 's'}" for n, what in counts)
    shapes = [
        _words(_MARGIN, _MARGIN + 31, _cut(title, 26), size=18, weight=650),
        _words(_MARGIN, _MARGIN + 53, numbers, fill=_SOFT),
    ]
    y = _MARGIN + 84.0
    for state, colour in STATES.items():
        count = sum(card.state == state for card in cards)
        if count:
            shapes.append(_dot(_MARGIN + 6, y - 4, state, colour))
            shapes.append(_words(_MARGIN + 20, y, f"{count} {state}", fill=_SOFT))
            y += 20
    return shapes


def _dot(x: float, y: float, state: str, colour: str) -> str:
    fill = "none" if state == "unknown" else colour
    return (
        f'<circle cx="{x:g}" cy="{y:g}" r="4.5" fill="{fill}" stroke="{colour}"'
        f' stroke-width="1.5"><title>{_text(state)}</title></circle>'
    )


def _words(
    x: float,
    y: float,
    text: str,
    *,
    fill: str = _INK,
    size: float = 12,
    weight: int = 400,
    anchor: str = "start",
) -> str:
    end = "" if anchor == "start" else f' text-anchor="{anchor}"'
    heavy = "" if weight == 400 else f' font-weight="{weight}"'
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}"{heavy}{end}>'
        f"{_text(text)}</text>"
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(text: str) -> str:
    """For SVG: what XML cannot hold is left out."""
    return escape("".join(each for each in text if each.isprintable()))
