"""`capture` of real frames: into a file, a pipe, with a filter, and that nothing of it stays."""

from __future__ import annotations

import re
import signal
import subprocess

import pytest

from .lab_helpers import wait_until
from .operator import FAB, ROOT, Operator, small_vm

LIMIT_S = 60


@pytest.fixture
def talking(operator: Operator) -> Operator:
    """vm1 in VLAN 101, whose network card asks for an address, over and over."""
    operator.add(small_vm("vm1", 1, 101, ram_mb=128))
    operator.ok("launch", "--vm", "vm1")
    return operator


def read(pcap: bytes) -> list[str]:
    """The frames as tcpdump reads them, a line each."""
    done = subprocess.run(
        ["tcpdump", "-nner", "-"], input=pcap, capture_output=True, timeout=20, check=True
    )
    return done.stdout.decode().splitlines()


def remains(operator: Operator) -> str:
    """Programs and sockets of a capture that are still on the worker."""
    script = (
        "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null"
        " | grep -E '^(perl|[^ ]*tcpdump) ' | grep -v grep; ls -A /run/vmops | grep call; true"
    )
    return operator.on("worker1", "sh", "-c", script)


def is_clean(operator: Operator) -> bool:
    return remains(operator) == ""


def test_into_a_file_until_there_are_enough(talking: Operator) -> None:
    file = talking.folder / "f.pcap"
    said = talking.ok("capture", "--vm", "vm1:eth1", "--count", "2", "--write", str(file))
    frames = read(file.read_bytes())
    assert len(frames) == 2
    assert all(talking.vms[0][0].nics[0].mac in frame for frame in frames)
    assert "2 frames" in said.err
    wait_until(lambda: is_clean(talking))


def test_with_a_filter(talking: Operator) -> None:
    file = talking.folder / "f.pcap"
    words = ("capture", "--vm", "vm1", "--write", str(file), "--filter")
    talking.ok(*words, "udp port 67", "--count", "1")
    assert "BOOTP/DHCP" in read(file.read_bytes())[0]
    kept = file.read_bytes()
    said = talking.fab(*words, "no such words", "--force")
    assert said.code == 1
    assert "syntax error" in said.err
    again = talking.fab(*words, "udp port 67")
    assert again.code == 2
    assert f"{file} exists already\n  --force replaces it; or another --write" in again.err
    assert file.read_bytes() == kept
    wait_until(lambda: is_clean(talking))


def test_a_reader_who_has_seen_enough_ends_it_there_too(talking: Operator) -> None:
    """It sees the frames as they come: 24 bytes are the head of the file, and the rest a frame."""
    pipe = f"{FAB} capture --vm vm1 | head -c 100"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {pipe}"],
        cwd=ROOT,
        env=talking.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert len(done.stdout) == 100
    assert done.returncode == 0
    wait_until(lambda: is_clean(talking))


def begun(operator: Operator, *words: str) -> subprocess.Popen[str]:
    fab = operator.begin("capture", "--vm", "vm1", *words)
    assert fab.stderr is not None
    assert "capturing" in fab.stderr.readline()
    return fab


def test_ctrl_c_is_how_it_ends(talking: Operator) -> None:
    file = talking.folder / "f.pcap"
    fab = begun(talking, "--write", str(file))
    wait_until(lambda: file.stat().st_size > 24, seconds=30)
    fab.send_signal(signal.SIGINT)
    _, err = fab.communicate(timeout=10)
    assert fab.returncode == 0
    assert re.search(rf"\b{len(read(file.read_bytes()))} frames?\b", err)
    wait_until(lambda: is_clean(talking))


@pytest.mark.parametrize("how", ["killed", "cut"])
def test_it_ends_there_whatever_becomes_of_the_operator(talking: Operator, how: str) -> None:
    """A filter that lets nothing pass: the end is not noticed by writing."""
    file = talking.folder / "f.pcap"
    fab = begun(talking, "--write", str(file), "--filter", "ether proto 0x9999")
    assert not is_clean(talking)
    if how == "killed":
        fab.kill()
        fab.communicate(timeout=10)
    else:
        talking.lab.fault("worker1", "reset")
        _, err = fab.communicate(timeout=30)
        talking.lab.heal("worker1")
        assert fab.returncode == 1
        assert "the connection was lost" in err
    wait_until(lambda: is_clean(talking), seconds=20)


def test_a_vm_that_stops_ends_it_with_a_word(talking: Operator) -> None:
    fab = begun(talking, "--write", str(talking.folder / "f.pcap"))
    talking.ok("stop", "--vm", "vm1", "--force")
    _, err = fab.communicate(timeout=20)
    assert fab.returncode == 1
    assert "the capture ended there: TAP tap_1_eth1 is gone" in err
    wait_until(lambda: is_clean(talking))


def test_without_tcpdump_every_frame_comes_all_the_same(talking: Operator) -> None:
    tools = talking.on("worker1", "sh", "-c", "command -v tcpdump").strip()
    talking.on("worker1", "mount", "--bind", "/dev/null", tools)
    file = talking.folder / "f.pcap"
    words = ("capture", "--vm", "vm1", "--write", str(file), "--count", "2")
    try:
        talking.ok(*words)
        frames = read(file.read_bytes())
        said = talking.fab(*words, "--filter", "arp", "--force")
    finally:
        talking.on("worker1", "umount", tools)
    assert len(frames) == 2
    assert all(talking.vms[0][0].nics[0].mac in frame for frame in frames)
    assert said.code == 1
    assert "a filter needs tcpdump there" in said.err
    assert "sudo apt install tcpdump" in said.err
    wait_until(lambda: is_clean(talking))


def test_a_socket_that_was_left_goes_with_the_next_one(talking: Operator) -> None:
    make = "import socket; socket.socket(socket.AF_UNIX).bind('/run/vmops/.call.left')"
    talking.on("worker1", "python3", "-c", make)
    talking.on("worker1", "touch", "-d", "1 hour ago", "/run/vmops/.call.left")
    assert not is_clean(talking)
    file = str(talking.folder / "f.pcap")
    talking.ok("capture", "--vm", "vm1", "--count", "1", "--write", file)
    wait_until(lambda: is_clean(talking))


def test_what_cannot_be_captured_is_said(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1, 101), image=False)
    said = operator.fab("capture", "--vm", "vm1", "--write", str(operator.folder / "f"))
    assert said.code == 1
    assert "there is no TAP tap_1_eth1" in said.err
    assert not (operator.folder / "f").exists()
    assert operator.fab("capture", "--vm", "vm1:eth9", "--write", "/dev/null").code == 2
    assert operator.fab("capture").code == 2
    assert operator.fab("capture", "--vm", "vm1", "--count", "-1", "--write", "/dev/null").code == 2
    dry = operator.ok("--dry", "capture", "--vm", "vm1", "--write", str(operator.folder / "dry"))
    assert "sudo tcpdump -n -U -w - -i tap_1_eth1" in dry.out
