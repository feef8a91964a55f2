"""The topology as a picture, and as text for other programs."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmops.core.inventory.inventory import parse
from vmops.core.plan.graph import languages
from vmops.core.plan.graph.svg import STATES, picture, svg
from vmops.core.plan.graph.topology import (
    ANYWHERE,
    BY_NAME,
    Card,
    Net,
    Place,
    Port,
    Seen,
    Topology,
    as_dict,
    topology,
)

HOSTS = """
[workers.w1]
address = "192.0.2.1"
[workers.w2]
address = "192.0.2.2"
[networks.red]
vlan_id = 100
subnet = "192.168.0.0/24"
[vms.web]
worker = "w1"
ram_mb = 1024
interfaces = [{ name = "eth0", network = "red", address = "192.168.0.9" }, { name = "eth1" }]
[vms.router]
worker = "w2"
ram_mb = 512
interfaces = [{ name = "eth0", vlan_id = 101, trunks = [100] }]
[vms.free]
ram_mb = 512
"""
REST = 'vm_id = {0}\ncores = 1\nvnc_port = 59{0:02}\nqcow_image = "~/{0}.qcow2"\n'


def listed() -> str:
    text = HOSTS
    for number, name in enumerate(("web", "router", "free"), start=1):
        text = text.replace(f"[vms.{name}]\n", f"[vms.{name}]\n{REST.format(number)}")
    return text


NOBODY_ASKED = Seen(offline=True)


def drawn(seen: Seen = NOBODY_ASKED) -> Topology:
    return topology(parse(listed(), source="hosts.toml"), seen)


def test_what_is_drawn() -> None:
    found = drawn()
    assert [place.name for place in found.places] == ["w1", "w2", ANYWHERE]
    (web,) = found.places[0].cards
    assert web == Card(
        "web", "1 GiB · 1 CPU", (Port("eth0", (100,), "192.168.0.9"), Port("eth1", ()))
    )
    assert found.places[1].cards[0].ports == (Port("eth0", (100, 101)),)
    assert [(net.label, net.notes) for net in found.nets] == [
        ("red · VLAN 100", ("192.168.0.0/24",)),
        ("VLAN 101", ()),
    ]
    assert found.nets[0].colour == BY_NAME["red"]
    assert found.nets[1].colour != BY_NAME["red"]


def test_a_vm_is_drawn_where_it_runs() -> None:
    states = {"free": ("running", "w2"), "web": ("stopped", "w1"), "router": ("unknown", "w2")}
    found = drawn(Seen(states, frozenset({"w2"})))
    assert [[card.name for card in place.cards] for place in found.places] == [
        ["web"],
        ["router", "free"],
    ]
    assert [place.lost for place in found.places] == [False, True]
    text = svg(found, title="lab")
    assert "cannot be asked" in text
    assert "1 running" in text
    assert all(state in STATES for state, _ in states.values())


def texts(document: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(document).iter() if each.tag.endswith("text")]


def test_the_picture_has_everything_and_needs_nothing() -> None:
    document = svg(drawn(), title="hosts.toml")
    said = texts(document)
    for word in ("web", "router", "free", "w1", "192.168.0.9", "not connected", "red · VLAN 100"):
        assert word in said
    assert "3 workers · 3 VMs · 2 networks" in said
    assert not re.search(r"<(script|image|use|foreignObject)|href|url\(", document)


names = st.text(min_size=1, max_size=8) | st.sampled_from(['"', "\\", "a" * 40, "<b>&'"])
FEW = settings(max_examples=40)
ports = st.builds(
    Port, names, st.lists(st.sampled_from([100, 101]), unique=True).map(tuple), names | st.just("")
)
cards = st.builds(
    Card, names, names, st.lists(ports, max_size=2).map(tuple), st.sampled_from(["", *STATES])
)
places = st.builds(Place, names, names, st.lists(cards, max_size=6).map(tuple), st.booleans())
topologies = st.builds(
    Topology,
    st.lists(places, max_size=2).map(tuple),
    st.builds(
        lambda one, other: (Net(100, one, (other,), "#111111"), Net(101, "", (), "#222222")),
        names,
        names,
    ),
    st.lists(names, max_size=2).map(tuple),
).map(lambda one: one._replace(mesh=one.mesh and tuple(place.name for place in one.places)))


@FEW
@given(topologies, names)
def test_whatever_things_are_called_it_is_a_picture(found: Topology, title: str) -> None:
    root = ET.fromstring(svg(found, title=title))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = []
    for each in root.iter():
        if each.tag.endswith("rect"):
            x, y = float(each.get("x", 0)), float(each.get("y", 0))
            wide, tall = float(each.get("width", 0)), float(each.get("height", 0))
            assert x + wide <= width
            assert y + tall <= height
            if each.get("rx") == "9" and wide < 200:
                boxes.append((x, y, x + wide, y + tall))
    for number, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[number + 1 :]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart, "cards overlap"
    spots = {(s.x, s.y, s.x + s.width, s.y + s.height) for s in picture(found, title=title).cards}
    assert spots == set(boxes), "links lie where the cards are"
    count = sum(len(p.vlans) for place in found.places for card in place.cards for p in card.ports)
    lines = [e for e in root.iter() if e.tag.endswith("path") and e.get("stroke-width") == "2.2"]
    assert len(lines) == count, "a line for each interface and VLAN"


@FEW
@given(topologies)
def test_no_name_breaks_out_of_its_quotes(found: Topology) -> None:
    escaped, never = r'"(\\.|[^"\\])*"', r'"[^"]*"'
    for made, quoted in (
        (languages.mermaid, never),
        (languages.dot, escaped),
        (languages.d2, escaped),
    ):
        for line in made(found).split("\n"):
            plain = re.sub(quoted, "", line)
            assert '"' not in plain
            assert re.fullmatch(r"[\w\s\[\]{}()|:;#,.=+\-]*", plain), line


def test_mermaid() -> None:
    lines = languages.mermaid(drawn()).splitlines()
    assert lines[:4] == ["flowchart TB", '  subgraph w1["w1"]', '    v1_1["web"]', "  end"]
    assert '  v1_1 ---|"eth0"| n100' in lines
    assert '  n100(["red · VLAN 100"])' in lines


def test_d2() -> None:
    text = languages.d2(drawn())
    assert 'w2.v2_1 -- n101: "eth0"' in text
    assert text.count("{") == text.count("}")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not here")
def test_graphviz_takes_it() -> None:
    done = subprocess.run(
        ["dot", "-Tplain"], input=languages.dot(drawn()).encode(), capture_output=True, check=True
    )
    assert b"edge" in done.stdout


def test_json() -> None:
    found = as_dict(drawn(Seen({"web": ("running", "w1")})))
    assert found["workers"][0]["vms"][0] == {
        "name": "web",
        "state": "running",
        "interfaces": [
            {"name": "eth0", "vlans": [100], "address": "192.168.0.9"},
            {"name": "eth1", "vlans": [], "address": None},
        ],
    }
    assert found["workers"][2]["name"] is None
    assert found["networks"][0]["name"] == "red"


@pytest.mark.parametrize(
    ("seen", "asked"),
    [
        (NOBODY_ASKED, [False, False, False]),
        (Seen(), [True, True, True]),
        (Seen(lost=frozenset({"w2"})), [True, False, True]),
    ],
)
def test_json_says_which_workers_were_asked(seen: Seen, asked: list[bool]) -> None:
    found = as_dict(topology(parse(listed(), source="hosts.toml"), seen))
    assert [place["asked"] for place in found["workers"]] == asked


def meshed(number: int = 2) -> Topology:
    text = listed().replace("[workers.w1]", '[defaults]\nmesh = "vxlan"\n[workers.w1]')
    pinned = text.replace("[vms.free]\n", '[vms.free]\nworker = "w1"\n')
    if number == 3:
        pinned = pinned.replace(
            "[networks.red]", '[workers.w3]\naddress = "192.0.2.3"\n[networks.red]'
        )
        pinned = pinned.replace('worker = "w2"', 'worker = "w3"')
    return topology(parse(pinned, source="hosts.toml"), NOBODY_ASKED)


def test_tunnels_join_the_workers_of_a_mesh_and_no_others() -> None:
    """In a file of three workers the second one has no VM in a VLAN."""
    found = meshed(3)
    assert found.mesh == ("w1", "w3")
    assert as_dict(found)["mesh"] == ["w1", "w3"]
    lines = languages.mermaid(found).splitlines()
    assert lines[-3:] == ['  mesh{{"VXLAN tunnels (wanted)"}}', "  mesh -.- w1", "  mesh -.- w3"]
    text = languages.d2(found)
    assert "mesh -- w3: {style.stroke-dash: 4}" in text
    assert "mesh -- w2" not in text
    root = ET.fromstring(svg(found, title="hosts.toml"))
    (line,) = [e for e in root.iter() if e.get("stroke-dasharray") == "6 4"]
    assert len(re.findall("V", line.attrib["d"])) == 2
    assert "VXLAN tunnels (wanted)" in texts(svg(found, title="hosts.toml"))


def test_without_a_mesh_nothing_is_said_of_tunnels() -> None:
    found = drawn()
    made = svg(found, title=""), languages.mermaid(found), languages.dot(found), languages.d2(found)
    assert not [one for one in made if "tunnel" in one.lower() or "mesh" in one]
    assert as_dict(found)["mesh"] == []


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not here")
def test_graphviz_draws_tunnels_to_a_worker_without_a_vm() -> None:
    text = languages.dot(meshed(3)._replace(mesh=("w1", "w2", "w3"))).encode()
    done = subprocess.run(["dot", "-Tplain"], input=text, capture_output=True, check=True)
    edges = [line.split()[1:3] for line in done.stdout.decode().splitlines() if "edge mesh" in line]
    assert edges == [["mesh", "t1"], ["mesh", "t2"], ["mesh", "t3"]]
    assert not done.stderr
