"""A guest with work to do that goes to another worker: it writes to a disk while that is mirrored,
and answers ping all the while."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.guests import linux_address
from vmops.core.inventory.model import VM, Disk

from .lab_helpers import wait_until
from .net_guests import Guest
from .operator import Operator, small_vm
from .test_agent import images

pytestmark = pytest.mark.timeout(600)

FOLDER = "/home/ubuntu/vm_images/.vmops"
DATA = f"{FOLDER}/disk-web1-data.qcow2"
WORKERS = ("worker1", "worker2")
SLOTS, BLOCK = 64, 4096
MORE = "dd if=/dev/urandom of=/dev/vdb bs=1M seek=100 count=16 conv=fsync 2>/dev/null"
"""What takes its time to be mirrored."""
PINGS = ("ping", "-n", "-i", "0.1")

WRITES = f"""
i=0
while [ ! -e /tmp/stop ]; do
    head -c {BLOCK} /dev/urandom >/tmp/block
    slot=$((i % {SLOTS}))
    dd if=/tmp/block of=/dev/vdb bs={BLOCK} seek=$slot conv=notrunc,fsync 2>/dev/null
    echo "$slot $(sha256sum </tmp/block)" >>/tmp/sums
    i=$((i + 1))
done
touch /tmp/stopped
"""
"""Block after block, each again and again, and what every one was."""

READS = f"""
echo 3 >/proc/sys/vm/drop_caches
slot=0
while [ $slot -lt {SLOTS} ]; do
    is=$(dd if=/dev/vdb bs={BLOCK} skip=$slot count=1 2>/dev/null | sha256sum)
    was=$(sed -n "s/^$slot //p" /tmp/sums | tail -n 1)
    [ "$is" = "$was" ] || echo "block $slot is not what was written last"
    slot=$((slot + 1))
done
head -c {SLOTS * BLOCK} /dev/vdb | sha256sum
"""


@pytest.fixture
def web(operator: Operator) -> Iterator[VM]:
    """A Linux on worker1 with an agent, a second disk and an address in VLAN 101."""
    images(operator)
    vm = replace(
        small_vm("web1", 1, 101, ram_mb=128),
        qcow_image="",
        image="agent",
        disks=(Disk("data", size_gb=1),),
    )
    operator.add(vm, image=False)
    operator.ok("launch", "--vm", "web1")
    wait_until(lambda: inside(operator, "cat /sys/class/net/eth1/operstate") == "up\n", seconds=90)
    yield vm
    operator.clean_up(WORKERS)
    for worker in WORKERS:
        operator.on(worker, "rm", "-rf", FOLDER)


@pytest.fixture
def neighbour(operator: Operator, web: VM) -> Iterator[Guest]:
    """Somebody in the guest's VLAN, on the worker that it leaves."""
    guest = Guest(operator.lab, "worker1", "n1", "52:54:00:01:00:01", 101)
    guest.plug()
    guest.inside("ip", "address", "add", "10.1.200.1/16", "dev", "eth0")
    yield guest
    guest.unplug()


def inside(operator: Operator, script: str) -> str:
    return operator.fab("exec", "--vm", "web1", "--", "sh", "-c", script).out


def count(operator: Operator) -> int:
    return int(inside(operator, "wc -l </tmp/sums") or 0)


def test_what_it_writes_meanwhile_is_whole_and_it_answers_all_the_while(
    operator: Operator, web: VM, neighbour: Guest
) -> None:
    address = linux_address(web.nics[0].mac)
    assert " 0 received" not in neighbour.inside("ping", "-n", "-q", "-c", "3", address)
    inside(operator, MORE)
    inside(operator, f"setsid sh -c '{WRITES}' </dev/null >/dev/null 2>&1 &")
    wait_until(lambda: count(operator) > SLOTS, seconds=60)
    before = count(operator)
    words = ["nsenter", "--net=/run/netns/n1", *PINGS, address]
    argv = operator.lab.enter("worker1", words)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as pings:
        try:
            moved = operator.ok("migrate", "--vm", "web1", "--to", "worker2")
            operator.vms = [(web, "worker2")]
            operator.write()
            assert " 0 received" not in neighbour.inside("ping", "-n", "-q", "-c", "3", address)
        finally:
            operator.on("worker1", "pkill", "-INT", "-x", "ping")
        said, _ = pings.communicate()
    print(moved.err, said[said.index("---") :])  # noqa: T201
    lost = re.search(r"(\d+) packets transmitted, (\d+) received", said)
    assert lost is not None
    assert int(lost[2]) > 0
    assert "DUP!" not in said, "a packet came to both"

    assert (operator.qemus("worker1"), list(operator.qemus("worker2"))) == ({}, ["web1"])
    wait_until(lambda: count(operator) > before + SLOTS, seconds=60)
    inside(operator, "touch /tmp/stop")
    wait_until(lambda: inside(operator, "ls /tmp/stopped"), seconds=60)
    (its_own,) = inside(operator, READS).splitlines()
    operator.ok("stop", "--vm", "web1", "--force")
    copy = f"qemu-img dd -f qcow2 -O raw bs={BLOCK} count={SLOTS} if={DATA} of=/tmp/part"
    look = f"qemu-img check -q {DATA} && {copy} && sha256sum </tmp/part; rm -f /tmp/part"
    seen = operator.on("worker2", "sh", "-c", look)
    assert seen.split()[0] == its_own.split()[0]
