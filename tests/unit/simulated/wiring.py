"""What commands about TAPs, queues and Open vSwitch mean."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vmops.core.inventory.networks.impairment import Impairment
from vmops.core.tools import ip, ovs
from vmops.core.tools.lines import tc

from .parts import need

if TYPE_CHECKING:
    from .worker import Simulated


def _set_up_taps(w: Simulated, words: list[str], _: str) -> None:
    """It stops at the first line that fails. Where several VMs plug at once there are several
    words with lines: what holds no blank is a TAP."""
    for line in [line for word in words[1:] if " " in word for line in word.split("\n")]:
        what, *rest = shlex.split(line)[2:]
        if what == "tuntap":
            name = rest[rest.index("name") + 1]
            need(name not in w.taps, "File exists")
            w.taps[name] = ip.Tap(up=False)
        else:
            name, alias = rest[rest.index("dev") + 1], rest[rest.index("alias") + 1]
            need(name in w.taps, "Cannot find device")
            w.taps[name] = w.taps[name]._replace(alias=alias)


def _any_plugged(w: Simulated, words: list[str], _: str) -> None:
    need(words, "no interface could be plugged")


def _raise_taps(w: Simulated, words: list[str], _: str) -> None:
    for name in words:
        need(name in w.taps, "Cannot find device")
        w.taps[name] = w.taps[name]._replace(up=True)


def _restore_tap(w: Simulated, words: list[str], _: str) -> None:
    name, mark, alias, state, mtu = words
    if name in w.taps and w.taps[name].alias == mark:
        w.taps[name] = w.taps[name]._replace(alias=alias, up=state == "up", mtu=int(mtu))


def read_queue(words: Sequence[str]) -> Impairment:
    """What a queue of these words does."""
    said = dict(zip(words[1::2], words[2::2], strict=False))
    found = {key: float(re.sub(r"[a-z%]+$", "", value)) for key, value in said.items()}
    rate = found.get("rate", 0) / 1000
    return Impairment(found.get("delay", 0), 0, found.get("loss", 0), rate)


def _impair_in(w: Simulated, words: list[str], _: str) -> None:
    need(words[0] in w.taps, "Cannot find device")
    w.queues[words[0]] = tuple(words[1:])


def _impair_out(w: Simulated, words: list[str], _: str) -> None:
    need(words[0] in w.taps, "Cannot find device")
    w.queues[words[1]] = tuple(words[2:])


def _free_in(w: Simulated, words: list[str], _: str) -> None:
    w.queues.pop(words[0], None)


def _free_out(w: Simulated, words: list[str], _: str) -> None:
    w.queues.pop(words[1], None)


def _remove_tap(w: Simulated, name: str) -> None:
    w.taps.pop(name, None)
    w.queues.pop(name, None)
    w.queues.pop(tc.mirror(name), None)


def _remove_own_tap(w: Simulated, words: list[str], _: str) -> None:
    name, mark = words
    if name in w.taps and w.taps[name].alias == mark:
        _remove_tap(w, name)


def _remove_taps(w: Simulated, words: list[str], _: str) -> None:
    for name in re.findall(r"link set dev (\S+) group", words[0]):
        _remove_tap(w, name)


def _gone_taps(w: Simulated, words: list[str], _: str) -> None:
    need(not set(words) & set(w.taps), "still there")


def _vsctl(w: Simulated, words: list[str], _: str) -> None:
    """One transaction: all of it, or nothing. What somebody has untagged is not its doing."""
    ports = dict(w.ports)
    change: list[list[str]] = [[]]
    for word in words:
        if word == "--":
            change.append([])
        else:
            change[-1].append(word)
    for entry in change[1:]:
        _change(w, ports, [word for word in entry if word != "--if-exists"], entry)
    for name, port in ports.items():
        is_open = port.tag is None and not port.trunks and name not in w.trunks
        if is_open and w.ports.get(name) != port:
            w.wrong.append(f"port {name} of {port.owner} has no tag")
    w.ports = ports


def _change(w: Simulated, ports: dict[str, ovs.Port], words: list[str], whole: list[str]) -> None:
    may_be_absent = "--if-exists" in whole
    what, *rest = words
    if what == "del-port":
        need(may_be_absent or rest[0] in ports, "no port")
        ports.pop(rest[0], None)
        return
    if what == "add-port":
        bridge, name, *columns = rest
        need(bridge in w.bridges and name not in ports, "no bridge, or a port of that name")
        ports[name] = _with(ovs.Port(name, bridge, None), columns)
        w.queues.pop(name, None)
        return
    assert what == "set", words
    _table, name, *columns = rest
    if name not in ports and may_be_absent:
        return
    need(name in ports, "no row")
    ports[name] = _with(ports[name], columns)


def _with(port: ovs.Port, columns: Sequence[str]) -> ovs.Port:
    for column in columns:
        key, _, value = column.partition("=")
        if key.startswith("external_ids:"):
            mark = key.partition(":")[2]
            port = port._replace(external_ids={**port.external_ids, mark: json.loads(value)})
        elif key == "external_ids":
            pairs = re.findall(r'("(?:[^"\\]|\\.)*")=("(?:[^"\\]|\\.)*")', value)
            marks = {json.loads(mark): json.loads(said) for mark, said in pairs}
            port = port._replace(external_ids=marks)
        elif key == "tag":
            port = port._replace(tag=None if value == "[]" else int(value))
        elif key == "trunks":
            port = port._replace(trunks=tuple(json.loads(value)))
        elif key == "vlan_mode":
            port = port._replace(vlan_mode="" if value == "[]" else value)
        else:
            raise AssertionError(f"a column that is not known here: {column}")
    return port


def _holds_ports(w: Simulated, words: list[str], _: str) -> None:
    for name, tag in zip(words[::2], words[1::2], strict=True):
        need(name in w.ports and name in w.taps, "the switch could not take it")
        need(w.ports[name].tag == int(tag), "another tag")
        need(w.taps[name].up, "does not stay up")


def _holds_trunks(w: Simulated, words: list[str], _: str) -> None:
    for at in range(0, len(words), 4):
        name, tag, trunks, mode = words[at : at + 4]
        need(name in w.ports and name in w.taps, "the switch could not take it")
        port = w.ports[name]
        need(port.tag == (None if tag == "[]" else int(tag)), "another tag")
        need(list(port.trunks) == json.loads(trunks), "other trunks")
        need(port.vlan_mode == mode, "another mode")
        need(w.taps[name].up, "does not stay up")


def _remove_own_ports(w: Simulated, words: list[str], _: str) -> None:
    vm, *names = words
    for name in names:
        if name in w.ports and w.ports[name].external_ids.get(ovs.OWNER) == vm:
            del w.ports[name]


MEANINGS: dict[str, Any] = {
    "set_up_taps": _set_up_taps,
    "any_plugged": _any_plugged,
    "raise_taps": _raise_taps,
    "restore_tap": _restore_tap,
    "remove_own_tap": _remove_own_tap,
    "remove_taps": _remove_taps,
    "gone_taps": _gone_taps,
    "impair_in": _impair_in,
    "impair_out": _impair_out,
    "free_in": _free_in,
    "free_out": _free_out,
    "vsctl": _vsctl,
    "ovs-vsctl": _vsctl,
    "holds_ports": _holds_ports,
    "holds_trunks": _holds_trunks,
    "remove_own_ports": _remove_own_ports,
}
