"""Ports in OVN of VMs that move: what is written of them, and for how long it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.devices.network.logical import share as logical_share
from vmops.core.facts.network.central import Central
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.network import logical
from vmops.core.plan.network.rebinding import Rebinding, check, rebind
from vmops.core.tools.ovn import Found, Key
from vmops.errors import WorkFailed

from .ovn_networks import BLUE, CHASSIS, W1, W2, WEB, central, changes, read, wanted

W3 = Worker("w3", address="10.0.0.3")
THREE = {**CHASSIS, "10.0.0.3": "uuid-of-w3"}
WAITS = "activation-strategy"
BOTH = tuple(f"{a},{b}" for a in THREE.values() for b in THREE.values() if a != b)
PORT = Key("blue", "port web:eth0")
"""Of a VM that hosts.toml has on w1."""


def web() -> VM:
    return read(BLUE, WEB).vms["web"]


def seen(at: str = "uuid-of-w1", moved: str = "") -> Central:
    """Where there are two places, its guest has to say at the second that it is there."""
    found = central(*wanted(BLUE, WEB).values())
    port = found.rows[PORT]
    marks = {"vmops-vm": "web", **({"vmops-moved": moved} if moved else {})}
    options = {"requested-chassis": at, **({WAITS: "rarp"} if "," in at else {})}
    columns = {
        **port.columns,
        "external_ids": marks,
        "options": {k: v for k, v in options.items() if v},
    }
    return found._replace(
        rows={**found.rows, PORT: port._replace(columns=columns)}, chassis=THREE, sum="abc"
    )


def told(
    to: Worker, central: Central, home: Worker | None = W1, *, leaves: Worker | None = None
) -> tuple[str, ...]:
    block = rebind(Rebinding(web(), to, home, leaves), central)
    return block.numbered()[0].commands[0].words() if block is not None else ()


def test_its_port_goes_to_the_worker_that_it_moves_to_and_back() -> None:
    uuid = seen().rows[PORT].uuid
    went = told(W2, seen())
    assert went[2:] == (
        *("--", "set", "Logical_Switch_Port", uuid, 'options:requested-chassis="uuid-of-w2"'),
        'external_ids:vmops-moved="uuid-of-w1 uuid-of-w2"',
    )
    there = seen("uuid-of-w2", "uuid-of-w1 uuid-of-w2")
    assert told(W2, there) == (), "it is so"
    back = told(W1, there)
    assert 'options:requested-chassis="uuid-of-w1"' in back
    assert back[-5:] == ("remove", "Logical_Switch_Port", uuid, "external_ids", "vmops-moved")
    assert told(W1, seen()) == ()
    free = seen("", "")
    assert told(W2, free, home=None) == (), "a VM that is pinned nowhere is let in anywhere"


def test_one_that_goes_while_it_runs_is_let_in_on_both_workers_meanwhile() -> None:
    both = ("uuid-of-w1,uuid-of-w2", "uuid-of-w1 uuid-of-w1 uuid-of-w2")
    went = told(W2, seen(), leaves=W1)
    assert f'options:requested-chassis="{both[0]}"' in went
    assert f'options:{WAITS}="rarp"' in went
    assert f'external_ids:vmops-moved="{both[1]}"' in went
    assert told(W2, seen(*both), leaves=W1) == (), "it is so"
    there, back = told(W2, seen(*both)), told(W1, seen(*both))
    assert 'options:requested-chassis="uuid-of-w2"' in there
    assert 'external_ids:vmops-moved="uuid-of-w1 uuid-of-w2"' in there
    assert 'options:requested-chassis="uuid-of-w1"' in back
    assert back[-2:] == ("external_ids", "vmops-moved")
    for words in (there, back):
        assert WAITS in words, "or it would wait for a guest that has said it already"
        assert f'options:{WAITS}="rarp"' not in words


def test_one_that_is_pinned_nowhere_is_for_two_workers_and_then_for_any() -> None:
    both = ("uuid-of-w1,uuid-of-w2", "* uuid-of-w1 uuid-of-w2")
    assert f'external_ids:vmops-moved="{both[1]}"' in told(W2, seen(""), None, leaves=W1)
    there = told(W2, seen(*both), None)
    assert not [word for word in there if word.startswith("options:")]
    for key in ("requested-chassis", WAITS, "vmops-moved"):
        assert key in there
    anywhere = read(BLUE, WEB.replace('worker = "w1"\n', ""))
    nowhere = logical_share(anywhere, ["blue"]).wanted
    assert nowhere["blue"].seats[0].tunnel_ip is None
    plan, _ = logical.bring(W1, nowhere, seen(*both))
    assert changes(plan)["blue"] == ("nothing", [])


@given(
    st.sampled_from([*sorted(THREE.values()), *BOTH]),
    st.sampled_from(
        [
            *("", "w9 w8", "uuid-of-w1 uuid-of-w2 w8"),
            *(f"{a} {b}" for a in THREE.values() for b in (*THREE.values(), *BOTH)),
        ]
    ).map(lambda moved: moved.replace(",", " ")),
)
def test_it_holds_as_long_as_hosts_toml_has_it_where_it_came_from(at: str, moved: str) -> None:
    """Whatever stands there, what `net.up` makes of it is what it wants, and stays."""
    plan, _ = logical.bring(W1, wanted(BLUE, WEB), seen(at, moved))
    home, _, there = moved.partition(" ")
    is_moved = home == "uuid-of-w1" and "w8" not in there.split()
    right = there.replace(" ", ",") if is_moved else "uuid-of-w1"
    action, drift = changes(plan)["blue"]
    assert (action == "nothing") == (at == right and (is_moved or not moved)), drift
    if at != right:
        assert f"port web:eth0.options.requested-chassis: {at} -> {right}" in drift


def test_a_worker_that_has_gone_is_no_place_to_be() -> None:
    gone = seen("uuid-of-w9", "uuid-of-w1 uuid-of-w9")
    plan, _ = logical.bring(W1, wanted(BLUE, WEB), gone)
    assert (
        "port web:eth0.options.requested-chassis: uuid-of-w9 -> uuid-of-w1"
        in (changes(plan)["blue"][1])
    )


@pytest.mark.parametrize(
    ("to", "without", "why", "cure"),
    [
        (Worker("w4", address="10.0.0.4"), None, "OVN does not know w4", "fab -H w4 ovn.setup"),
        (W2, PORT, "OVN has no port web:eth0", "fab net.up"),
    ],
)
def test_what_ovn_could_not_let_in_is_refused_before_anything_is_begun(
    to: Worker, without: Key | None, why: str, cure: str
) -> None:
    found = seen()
    rows: dict[Key, Found] = {key: row for key, row in found.rows.items() if key != without}
    with pytest.raises(WorkFailed) as caught:
        check(Rebinding(web(), to, W1), W1, found._replace(rows=rows))
    assert (caught.value.what, caught.value.cure, caught.value.vm) == (why, cure, "web")
    check(Rebinding(web(), W2, W1), W1, found)
