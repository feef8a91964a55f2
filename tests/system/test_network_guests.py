"""Real guests in a network: their own DHCP client, ping and resolver; and a change under them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.guests import cache_directory, linux_image
from vmops.lab import Lab

from .course import OUTSIDE, Course, networks_of
from .fleet_helpers import put
from .lab_helpers import wait_until
from .operator import FAB, ROOT

SCRIPT = (
    "#!/bin/sh\\n[ $1 = bound ] || exit 0\\nip a f dev eth1\\nip a a $ip/$mask dev eth1\\n"
    "ip r a default via $router\\necho nameserver $dns >/etc/resolv.conf\\n"
)
BOOT_S = 120


def of_blue(number: int) -> str:
    """An exercise with the two clients of one VLAN, which are on two workers."""
    text = networks_of(ROOT / "examples" / f"exercise-{number}.toml")
    return text.partition("[vms.green1]")[0]


@pytest.fixture
def course(wide_lab: Lab, tmp_path: Path) -> Iterator[Course]:
    found = Course(wide_lab, tmp_path)
    listed = found.write(of_blue(1))
    image = linux_image(cache_directory()).read_bytes()
    for vm in listed.vms.values():
        put(found.operator, str(vm.worker), vm.qcow_image, image)
    yield found
    found.operator.fab("down", "--force")
    found.clean_up()


def asked(course: Course, vm: str, command: str, *, seconds: int = 60) -> str:
    """What a command prints in the guest's shell, at its serial port."""
    done = typed(course, vm, command, seconds=seconds)
    assert done.returncode == 0, done
    return done.stdout.decode(errors="replace")


def is_up(course: Course, vm: str) -> bool:
    """Whether its shell answers."""
    return typed(course, vm, "true", seconds=3).returncode == 0


def typed(
    course: Course, vm: str, command: str, *, seconds: int
) -> subprocess.CompletedProcess[bytes]:
    """How `fab console` ended."""
    line = f"\r{command}; echo DO''NE\r"
    words = ("console", "--vm", vm, "--until", "DONE", "--timeout", str(seconds))
    return subprocess.run(
        [FAB, *words],
        cwd=ROOT,
        env=course.operator.environment(),
        input=line.encode(),
        capture_output=True,
        timeout=seconds + 60,
        check=False,
    )


def test_guests_get_their_leases_and_a_change_reaches_them_while_they_run(course: Course) -> None:
    said = course.operator.ok("up", "--format", "json").json
    assert {one["network"]: one["action"] for one in said if "network" in one} == {
        "blue": "start",
        "green": "start",
    }
    vms = ("blue1", "blue2")
    ask = f"printf '{SCRIPT}' >/dh; chmod +x /dh; udhcpc -i eth1 -n -q -t 9 -s /dh; ip -4 a s eth1"
    for number, vm in enumerate(vms, start=1):
        wait_until(partial(is_up, course, vm), seconds=BOOT_S)
        assert f"inet 192.168.0.1{number}/24" in asked(course, vm, ask)
    counted = asked(course, "blue1", f"ping -c 3 -W 5 {OUTSIDE}; ping -c 3 -W 5 blue2")
    assert len(re.findall(r"[1-3] packets received", counted)) == 2, counted
    leases = course.status()["blue"]["leases"]
    assert {one["name"]: one["address"] for one in leases} == {
        "blue1": "192.168.0.11",
        "blue2": "192.168.0.12",
    }
    course.write(of_blue(3))
    said = course.operator.ok("up", "--format", "json").json
    assert {one["vm"]: one["action"] for one in said if "vm" in one} == dict.fromkeys(
        vms, "nothing"
    )
    assert " 0 packets received" in asked(course, "blue1", f"ping -c 2 -W 2 {OUTSIDE}")
    assert re.search("[1-3] packets received", asked(course, "blue1", "ping -c 3 192.168.0.12"))
    assert course.operator.fab("plan").code == 0
    said = course.operator.ok("down", "--force", "--format", "json").json
    assert {one["network"] for one in said if "network" in one} == {"blue", "green"}
    assert course.on_node("ls /run/vmops-net") == ""
