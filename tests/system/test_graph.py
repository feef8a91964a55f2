"""`graph` of a real fleet: what runs, and a worker that cannot be asked."""

from __future__ import annotations

import signal
import xml.etree.ElementTree as ET
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from .lab_helpers import wait_until
from .operator import Operator, small_vm


def test_the_picture_of_what_runs(fleet: Operator) -> None:
    fleet.ok("launch", "--vm", "a1")
    file = fleet.folder / "lab.svg"
    said = fleet.ok("graph", "--output", str(file))
    assert f"{file} is written" in said.err
    assert fleet.fab("graph", "--output", str(file)).code == 2
    fleet.ok("graph", "--output", str(file), "--force")
    words = {each.text for each in ET.parse(file).iter() if each.tag.endswith("text")}
    assert {"1 running", "5 stopped", "a1", "c2", "worker3", "VLAN 101"} <= words
    assert "running" in fleet.ok("graph", "--format", "mermaid").out
    fleet.lab.fault("worker3", "drop")
    said_twice = [fleet.ok("graph", "--offline", *more).out for more in ((), ("--output", "-"))]
    assert said_twice[0] == said_twice[1] != ""
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
    assert fleet.fab("graph", "--offline", "--output", "/nowhere/lab.svg").code == 2


def test_the_page_follows_what_runs(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101))
    with operator.begin("graph", "--web", "--no-browser") as shown:
        assert shown.stdout is not None
        line = shown.stdout.readline()
        url = line.removeprefix("in a browser: ").strip()
        assert url.startswith("http://127.0.0.1:")

        def picture() -> set[str | None]:
            with urlopen(f"{url}lab.svg", timeout=30) as answer:
                root = ET.fromstring(answer.read())
            return {each.text for each in root.iter() if each.tag.endswith("text")}

        assert {"vm1", "1 stopped", "VLAN 101"} <= picture()
        operator.ok("launch", "--vm", "vm1")
        wait_until(lambda: "1 running" in picture(), seconds=60)
        operator.ok("stop", "--force", "--vm", "vm1")
        wait_until(lambda: "1 stopped" in picture(), seconds=60)
        shown.send_signal(signal.SIGINT)
        shown.communicate(timeout=60)
        assert shown.returncode == 0
        with pytest.raises(URLError):
            urlopen(url, timeout=10)
