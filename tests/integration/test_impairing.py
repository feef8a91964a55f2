"""A real netem, in Debian's own kernel: our shell functions impair a line there, and pings tell.

Not every kernel has netem, and this machine's may not. In the guest a veth pair stands for a TAP
and its guest, in a bridge of the kernel, which takes frames at the same place as Open vSwitch does.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import pytest

from tests.guests import cache_directory, require_tools, traffic_image
from tests.guests.machine import Machine
from vmops.core.inventory.networks.impairment import UNIMPAIRED, Impaired, Impairment
from vmops.core.script import functions
from vmops.core.script.command import Command, command
from vmops.core.tools import ip
from vmops.core.tools.lines import tc

pytestmark = pytest.mark.timeout(300)

TAP = "tap_1_eth0"
END_S = 240
SLOW_MS = 700

SLOW = Impairment(delay_ms=SLOW_MS)
LOSSY = Impairment(loss_pct=100)
NARROW = Impairment(delay_ms=1, rate_mbit=0.02)
CAPPED = Impairment(rate_mbit=0.4)
ALL = Impairment(20, 5, 1, 10)
NONE = Impairment()

CASES = {
    "before": UNIMPAIRED,
    "slow-in": Impaired(SLOW, NONE),
    "slow-out": Impaired(NONE, SLOW),
    "slow-both": Impaired(SLOW, SLOW),
    "lossy-in": Impaired(LOSSY, NONE),
    "lossy-out": Impaired(NONE, LOSSY),
    "narrow": Impaired(NARROW, NONE),
    "all": Impaired(ALL, Impairment(delay_ms=0.5, loss_pct=0.125)),
    "capped": Impaired(CAPPED, NONE),
    "capped-out": Impaired(NONE, CAPPED),
    "after": UNIMPAIRED,
}
"""One after the other, each from what the one before has left."""

PINGED = ("before", "slow-in", "slow-out", "slow-both", "lossy-in", "lossy-out", "narrow", "after")

SET_UP = f"""
export PATH=/usr/sbin:/bin:/sbin
ip netns add guest
ip link add name br0 type bridge
ip link add name {TAP} type veth peer name eth0 netns guest
ip link set dev {TAP} alias vmops:web master br0 up
ip address add 10.9.0.1/24 dev br0
ip link set dev br0 up
ip netns exec guest ip address add 10.9.0.2/24 dev eth0
ip netns exec guest ip link set dev eth0 up
ping -c 1 -W 5 10.9.0.2 >/dev/null
"""


def typed(commands: Sequence[Command]) -> str:
    """Commands as a script of ours has them, with the functions that they call."""
    text = "\n".join(shlex.join(each.words()) for each in commands)
    return f"{functions.needed(text)}\n{text}\n"


def script() -> str:
    """What the guest runs: each case, what tc says then, and what pings tell."""
    parts = [SET_UP, "echo LACKS", typed([command("traffic_facts")])]
    for name, wanted in CASES.items():
        parts += [f"echo CASE {name}", typed(tc.impair(TAP, wanted))]
        parts += ["echo QUEUES", typed([tc.query()]), "echo"]
        if name in PINGED:
            # It waits in vain for what is lost, and as long as a busy machine takes for the rest.
            wait_s = 3 if name.startswith("lossy") else 30
            parts.append(f"ping -s 500 -c 3 -W {wait_s} 10.9.0.2")
    parts += [
        "echo CASE gone",
        typed(tc.impair(TAP, CASES["all"])),
    ]
    parts += [typed([ip.undo_create(TAP, "web")]), "echo LEFT $(ls /sys/class/net)", "echo END"]
    text = "\n".join(parts).encode()
    return (text + b"\n" * (-len(text) % 512)).decode()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the guest printed, by case."""
    require_tools("qemu-system-x86_64", "qemu-img", "apt-get", "dpkg-deb")
    folder = tmp_path_factory.mktemp("traffic")
    disk = folder / "script"
    disk.write_text(script())
    drive = f"file={disk},format=raw,if=virtio,readonly=on"
    image = traffic_image(cache_directory())
    options = ("-drive", drive)
    with Machine(folder / "guest", image, memory_mb=256, options=options) as guest:
        guest.wait_for("END\r\n", timeout=END_S)
        head, *cases = guest.printed.replace("\r", "").split("CASE ")
    return {"head": head} | {case.partition("\n")[0]: case for case in cases}


def milliseconds(ping: str) -> list[float]:
    """How long each answer took."""
    return [float(found) for found in re.findall(r"time=([\d.]+) ms", ping)]


def queues(said: str) -> str:
    """What tc said."""
    return said.partition("QUEUES\n")[2].partition("\n")[0]


def test_the_kernel_is_found_to_have_all(said: dict[str, str]) -> None:
    assert said["head"].partition("LACKS\n")[2].strip() == ""


@pytest.mark.parametrize("case", CASES)
def test_what_was_set_is_read_back(said: dict[str, str], case: str) -> None:
    assert tc.parse(queues(said[case])).get(TAP, UNIMPAIRED) == CASES[case]


@pytest.mark.parametrize("case", ["before", "after"])
def test_a_line_that_is_not_impaired_is_quick(said: dict[str, str], case: str) -> None:
    assert min(milliseconds(said[case])) < SLOW_MS


@pytest.mark.parametrize(("case", "least"), [("slow-in", 1), ("slow-out", 1), ("slow-both", 2)])
def test_a_delay_is_seen_each_way(said: dict[str, str], case: str, least: int) -> None:
    took = milliseconds(said[case])
    assert len(took) == 3
    assert min(took) >= least * SLOW_MS


@pytest.mark.parametrize("case", ["lossy-in", "lossy-out"])
def test_what_is_to_be_lost_is_lost(said: dict[str, str], case: str) -> None:
    assert milliseconds(said[case]) == []
    assert "100% packet loss" in said[case]


def test_a_low_rate_is_seen_in_a_single_frame(said: dict[str, str]) -> None:
    """500 bytes and their headers take 200 ms at 20 kbit/s."""
    assert min(milliseconds(said["narrow"])) >= 200


def test_nothing_is_left_when_the_tap_goes(said: dict[str, str]) -> None:
    left = said["gone"].partition("LEFT ")[2].partition("\n")[0].split()
    assert TAP not in left
    assert tc.mirror(TAP) not in left
    assert "br0" in left
