"""How readings of several VMs' logs come out on the two streams."""

from __future__ import annotations

import pytest

from vmops.core.facts.logs import Part, Parts
from vmops.core.facts.vms import RunningVM
from vmops.ops.guest.logs import Reading
from vmops.tasks.guest.log_display import LogDisplay


def reading(
    vm: str, console: bytes = b"", *, qemu: bytes = b"", ended: str = "", missed: int = 0
) -> Reading:
    parts = Parts(Part(console, len(console), missed), Part(qemu, len(qemu)))
    return Reading(vm, RunningVM(vm), parts, ended)


Streams = pytest.CaptureFixture[bytes]


def test_one_vms_bytes_are_as_they_were(capsysbinary: Streams) -> None:
    display = LogDisplay(several=False, for_terminal=False, only_qemu=False)
    display.show(reading("vm1", b"a\r\n\x1b[1m\xff"))
    display.show(reading("vm1", b"> "))
    display.end()
    assert capsysbinary.readouterr() == (b"a\r\n\x1b[1m\xff> ", b"")


def test_on_a_terminal_they_are_harmless_however_they_are_cut(capsysbinary: Streams) -> None:
    display = LogDisplay(several=False, for_terminal=True, only_qemu=False)
    for piece in (b"a\r", b"\n\x1b[", b"1mb\xc3", b"\xa9\x07", b"\xe2"):
        display.show(reading("vm1", piece))
    display.end()
    assert capsysbinary.readouterr().out.decode() == "a\nbé^G\\xe2"


def test_several_vms_have_whole_lines_behind_their_names(capsysbinary: Streams) -> None:
    display = LogDisplay(several=True, for_terminal=False, only_qemu=False)
    display.show(reading("vm1", b"one\ntw"))
    display.show(reading("vm2", b"1\n2"))
    display.show(reading("vm1", b"o\n> "))
    display.end()
    lines = capsysbinary.readouterr().out.splitlines()
    assert lines == [b"vm1: one", b"vm2: 1", b"vm1: two", b"vm1: > ", b"vm2: 2"]


def test_qemus_messages_and_the_end_go_to_the_other_stream(capsysbinary: Streams) -> None:
    display = LogDisplay(several=True, for_terminal=False, only_qemu=False)
    display.show(reading("vm1", b"begun", qemu=b"two\x1b[2J\nlines\x07\n", ended="has stopped"))
    out, err = capsysbinary.readouterr()
    assert out == b"vm1: begun\n"
    assert err == b"QEMU of vm1: two\nQEMU of vm1: lines^G\nvm1 has stopped\n"


def test_only_qemu(capsysbinary: Streams) -> None:
    display = LogDisplay(several=False, for_terminal=False, only_qemu=True)
    display.show(reading("vm1", b"guest", qemu=b"message\n"))
    assert capsysbinary.readouterr() == (b"message\n", b"")


def test_what_could_not_be_read_is_said(capsysbinary: Streams) -> None:
    display = LogDisplay(several=False, for_terminal=False, only_qemu=False)
    display.show(reading("vm1", b"later\n", missed=4096))
    out, err = capsysbinary.readouterr()
    assert out == b"later\n"
    assert err == b"vm1: 4096 bytes were printed faster than they could be read\n"
