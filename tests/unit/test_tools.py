"""Builders and parsers of QEMU, Open vSwitch, ip and /proc: each parser reads its builder."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vmops.core.devices import machine
from vmops.core.devices.display import Screen
from vmops.core.inventory.model import VM
from vmops.core.tools import ip, ovs, process, qemu

from .worlds import VM1

LAUNCH = machine.Launch(
    "kvm", "host", image="/a.qcow2", screen=Screen("0.0.0.0", 5901), uid=5, home="/home/u"
)


def argv(vm: VM = VM1, launch: machine.Launch = LAUNCH) -> tuple[str, ...]:
    start, name, limit_s, user, *words = machine.build(vm, launch).words()
    user_id = f"{launch.uid}:{launch.uid}"
    assert (start, name, limit_s, user) == ("start_qemu", vm.name, "60", user_id)
    return tuple(words)


def test_the_documented_line_comes_first_and_in_order() -> None:
    vm1 = replace(VM1, interfaces=VM1.interfaces[:1])
    documented = (
        "qemu-system-x86_64 -enable-kvm -m 512 -smp 1 -vnc 0.0.0.0:1 "
        "-netdev tap,id=net0,ifname=tap_1001_eth1,script=no,downscript=no "
        "-device e1000,netdev=net0,mac=52:54:00:03:e9:01 "
        "-drive file=/a.qcow2,format=qcow2 -daemonize"
    )
    assert " ".join(argv(vm1)).startswith(documented)


def test_the_cpu_and_a_quicker_disk_come_behind_the_documented_words() -> None:
    fast = argv(replace(VM1, disk_model="virtio"), LAUNCH._replace(cpu="Nehalem,+aes"))
    drive = fast.index("-drive")
    assert fast[drive + 1 : drive + 7] == (
        "file=/a.qcow2,format=qcow2,if=none,id=root",
        "-device",
        "virtio-blk-pci,drive=root,id=root-disk",
        "-daemonize",
        "-cpu",
        "Nehalem,+aes",
    )
    line = machine.parse(fast)
    assert (line.cpu, line.disk_model, line.image) == ("Nehalem,+aes", "virtio", "/a.qcow2")
    of_another = machine.parse(["qemu", "-drive", "file=/b.qcow2,format=qcow2,if=virtio"])
    assert (of_another.disk_model, of_another.image) == ("virtio", "/b.qcow2")


paths = st.text(st.characters(blacklist_characters="\0\n", codec="utf-8"), min_size=1)


@given(paths)
def test_any_path_is_one_value_of_the_drive(path: str) -> None:
    line = machine.parse(argv(launch=LAUNCH._replace(image="/" + path)))
    assert line.image == "/" + path
    drive = argv(launch=LAUNCH._replace(image="/" + path))
    option = drive[drive.index("-drive") + 1]
    assert qemu.split(option) == {"file": "/" + path, "format": "qcow2"}


@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0", "::1", "fe80::1"])
@pytest.mark.parametrize("password", [True, False])
def test_a_command_line_reads_back_as_it_was_built(listen: str, password: bool) -> None:
    line = machine.parse(argv(launch=LAUNCH._replace(screen=Screen(listen, 5901, password))))
    assert (line.name, line.uuid, line.ram_mb, line.cores) == ("vm1", VM1.uuid, 512, 1)
    assert line.screen == Screen(listen, 5901, has_password=password)
    assert [(nic.tap, nic.mac, nic.device) for nic in line.nics] == [
        ("tap_1001_eth1", "52:54:00:03:e9:01", "e1000"),
        ("tap_1001_eth2", "52:54:00:03:e9:02", "e1000"),
    ]


OPTIONS = ["-name", "-pidfile", "-netdev", "-device", "-drive", "-vnc", "-m", "-smp", "netdev=n"]


@given(st.lists(st.sampled_from(OPTIONS) | st.text()))
@example(["-vnc", ":²", "-m", "²", "-smp", "9" * 5000])
def test_anybodys_command_line_is_read_without_a_fault(words: list[str]) -> None:
    line = machine.parse(["qemu", *words])
    assert not machine.is_of(["qemu", *words], "vm1")
    assert line.screen.port == 0 or line.screen.port >= 5900
    assert machine.is_of(["qemu", *words], "vm1") is False


def test_identity_is_the_whole_word_not_a_pattern() -> None:
    vm10 = replace(VM1, name="vm10", vm_id=10)
    assert machine.is_of(argv(vm10), "vm10")
    assert not machine.is_of(argv(vm10), "vm1")
    assert not machine.is_of(("vim", "qemu-system-x86_64", "-name", "vm1"), "vm1")


def test_a_plug_sets_the_tag_and_the_owner_in_one_transaction() -> None:
    words = ovs.plug("br0", VM1, VM1.connected).words()
    assert words[0] == "vsctl"
    text = " ".join(words)
    assert "-- --if-exists del-port tap_1001_eth1 -- add-port br0 tap_1001_eth1 tag=101" in text
    assert "--may-exist" not in text
    for value in ("vm1-eth1", "52:54:00:03:e9:01", "active", VM1.uuid, "vm1"):
        assert json.dumps(value) in text


def tables(*, tag: Any = 101, ofport: Any = 3, ids: Any = ()) -> str:
    bridge = [["br-int", "netdev", ["set", []], ["set", [["uuid", "p1"], ["uuid", "p2"]]]]]
    empty: list[Any] = ["set", []]
    ports = [
        [["uuid", "p1"], "br-int", empty, empty, empty, False, False, ["uuid", "i1"]],
        [["uuid", "p2"], "tap1", tag, ["set", [5, 6]], "trunk", False, True, ["uuid", "i2"]],
    ]
    interfaces = [
        [["uuid", "i1"], "br-int", ["map", []], 65534, empty, "internal", ["map", []]],
        [
            ["uuid", "i2"],
            "tap1",
            ["map", list(ids)],
            ofport,
            empty,
            "vxlan",
            ["map", [["key", "1"]]],
        ],
    ]
    return "\n".join(
        json.dumps({"headings": headings, "data": data})
        for headings, data in (
            (["name", "datapath_type", "fail_mode", "ports"], bridge),
            (
                [
                    "_uuid",
                    "name",
                    "tag",
                    "trunks",
                    "vlan_mode",
                    "fake_bridge",
                    "protected",
                    "interfaces",
                ],
                ports,
            ),
            (["_uuid", "name", "external_ids", "ofport", "error", "type", "options"], interfaces),
        )
    )


def test_the_switch_is_read_from_three_tables() -> None:
    switch = ovs.parse(tables(ids=[["vmops-vm", "vm1"]]))
    assert switch.bridges == {"br-int": "netdev"}
    found = switch.ports["tap1"]
    assert (found.bridge, found.tag, found.trunks, found.vlan_mode) == (
        "br-int",
        101,
        (5, 6),
        "trunk",
    )
    assert (found.owner, found.ofport, found.error) == ("vm1", 3, "")
    assert (found.protected, found.kind, found.options) == (True, "vxlan", {"key": "1"})


@pytest.mark.parametrize("tag", [["set", []], []], ids=["empty-set", "empty-list"])
def test_a_port_without_a_tag_is_a_trunk(tag: Any) -> None:
    assert ovs.parse(tables(tag=tag)).ports["tap1"].tag is None


def test_a_fake_bridge_is_a_bridge_and_a_silent_one_is_told() -> None:
    said = tables().replace(
        '"tap1", 101, ["set", [5, 6]], "trunk", false', '"fake0", 50, 0, 0, true'
    )
    switch = ovs.parse(f"{said}\nsilent br-int\n")
    assert switch.bridges == {"br-int": "netdev", "fake0": "netdev"}
    assert [switch.real(bridge) for bridge in ("fake0", "br-int", "br0")] == [
        "br-int",
        "br-int",
        "br0",
    ]
    assert "br-int forwards nothing" in switch.lifeless("fake0")
    assert switch.lifeless("br0") == ""


@pytest.mark.parametrize("answer", ["", "{}", tables() + "\n{}", "nonsense\n" * 3])
def test_an_answer_that_is_not_the_tables_is_an_error_not_an_empty_switch(answer: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        ovs.parse(answer)


def test_taps_with_and_without_a_mark() -> None:
    said = "tap_1_eth1 up 0 1500 vmops:vm1\ntap9 up 1 1500 \ntap10 down 1 9000 \ntap11 up 1 ? x\n"
    assert ip.parse_taps(said) == {
        "tap_1_eth1": ip.Tap("vmops:vm1"),
        "tap9": ip.Tap(in_use=True),
        "tap10": ip.Tap(in_use=True, up=False, mtu=9000),
    }


def proc(stat: bytes = b"", *, name: bytes = b"qemu-system-x86") -> bytes:
    numbers = b" ".join(str(n).encode() for n in range(4, 53))
    stat = stat or b"77 (" + name + b") S " + numbers
    status = b"Name:\tqemu\nVmRSS:\t  2048 kB\nnonvoluntary_ctxt_switches:\t1\n"
    return stat + b"\n" + status + b"qemu\0-name\0vm1\0"


@pytest.mark.parametrize("name", [b"qemu", b"a) S (b", b"with space", b")"])
def test_a_process_is_read_whatever_its_name_holds(name: bytes) -> None:
    found = process.parse(proc(name=name))
    assert found is not None
    assert (found.pid, found.started, found.cpu_ticks, found.rss_kib) == (77, 22, 14 + 15, 2048)
    assert found.argv == ("qemu", "-name", "vm1")


def test_further_lines_of_a_kernels_status_are_not_the_command_line() -> None:
    more = (
        b"nonvoluntary_ctxt_switches:\t1\nx86_Thread_features:\t\nx86_Thread_features_locked:\t\n"
    )
    found = process.parse(proc().replace(b"nonvoluntary_ctxt_switches:\t1\n", more))
    assert found is not None
    assert found.argv == ("qemu", "-name", "vm1")


@pytest.mark.parametrize(
    "raw", [b"", b"77 (q) Z 1 2 3\n", proc(b"77 (q) Z " + b"1 " * 60), b"77 (q) S"]
)
def test_a_zombie_or_a_cut_answer_is_no_process(raw: bytes) -> None:
    assert process.parse(raw) is None


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e", "\r"])
def test_in_a_taps_alias_only_a_newline_ends_a_line(mark: str) -> None:
    """Whoever has marked it may have used any character."""
    taps = ip.parse_taps(f"tap1 up 1 1500 a {mark} b\nodd\ntap2 up 0 1500 \n")
    assert taps == {"tap1": ip.Tap(f"a {mark} b", True), "tap2": ip.Tap()}


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85"])
def test_in_what_a_port_is_marked_with_only_a_newline_ends_a_line(mark: str) -> None:
    """Open vSwitch writes them as they are."""
    answer = tables(ids=[["note", f"a {mark} b"]]).replace(json.dumps(mark)[1:-1], mark)
    assert mark in answer
    assert ovs.parse(answer).ports["tap1"].external_ids == {"note": f"a {mark} b"}
