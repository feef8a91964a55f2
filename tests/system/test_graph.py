"""`graph` of a real fleet: what runs, and a worker that cannot be asked."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from .operator import Operator


def test_the_picture_of_what_runs(fleet: Operator) -> None:
    fleet.ok("launch", "--vm", "a1")
    file = fleet.folder / "lab.svg"
    said = fleet.ok("graph", "--output", str(file))
    assert f"{file} is written" in said.err
    words = {each.text for each in ET.parse(file).iter() if each.tag.endswith("text")}
    assert {"1 running", "5 stopped", "a1", "c2", "worker3", "VLAN 101"} <= words
    assert "running" in fleet.ok("graph", "--format", "mermaid").out
    fleet.lab.fault("worker3", "drop")
    lost = fleet.fab("graph", "--format", "json")
    assert lost.code == 3
    assert [worker["asked"] for worker in lost.json["workers"]] == [True, True, False]
    assert {vm["state"] for vm in lost.json["workers"][2]["vms"]} == {"unknown"}
    offline = fleet.ok("graph", "--offline", "--format", "json").json
    assert {vm["state"] for worker in offline["workers"] for vm in worker["vms"]} == {None}


def test_a_file_whose_kind_is_not_known(fleet: Operator) -> None:
    said = fleet.fab("graph", "--offline", "--output", str(fleet.folder / "lab.png"))
    assert said.code == 2
    assert "--format" in said.err
    assert not (fleet.folder / "lab.png").exists()
    assert fleet.fab("graph", "--offline", "--output", "/nowhere/lab.svg").code == 1
