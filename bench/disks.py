"""What a disk of its own and a seed add to a launch: an overlay is made, an ISO is sent."""

from __future__ import annotations

import time
from statistics import median

from bench.machines import DISK, FIRST_ID, FIRST_VLAN, machine
from bench.place import Place
from bench.processes import Call, run
from bench.results import Results
from bench.single import Say
from bench.ways import vmops

PLAIN, SEEDED = "bench", "seeded"
_SEEDED = f"""
[images.bench]
file = "{{image}}"
format = "raw"

[vms.{SEEDED}]
vm_id = {FIRST_ID + 1}
worker = "{{worker}}"
ram_mb = 32
cores = 1
vnc_port = 5901
image = "bench"
cloud_init = {{{{ users = [{{{{ name = "ops", ssh_keys = ["{{key}}"] }}}}] }}}}
interfaces = [{{interfaces}}]
"""

_HAS_BOTH = "ls /home/ubuntu/vm_images/.vmops/disk-$1-* /run/vmops/$1/seed*"


def disks(place: Place, rounds: int, *, say: Say) -> Results:
    """`fab launch` of a VM with the documented `qcow_image`, and of one with an image and a seed.

    Both have the same interfaces, memory and guest, and take turns. The image is on the worker
    before; the overlay is made anew in each round.
    """
    (worker,) = place.grow(1)
    vm = machine(PLAIN, worker=worker)
    place.prepare([vm])
    image = place.directory / "guest.raw"
    image.write_bytes(DISK)
    nics = ", ".join(
        f'{{ name = "{nic.name}", vlan_id = {FIRST_VLAN + number} }}'
        for number, nic in enumerate(vm.interfaces)
    )
    key = place.lab.private_key.with_suffix(".pub")
    said = _SEEDED.format(image=image, worker=worker, key=key, interfaces=nics)
    place.inventory.write_text(place.inventory.read_text() + said)
    run(vmops.fab(place, "image.push"))
    took: dict[str, list[float]] = {PLAIN: [], SEEDED: []}
    for number in range(rounds + 1):
        say(f"a launch without and with a disk and a seed; round {number} of {rounds}")
        for name, seconds in took.items():
            launch = _seconds(vmops.fab(place, "launch", "--vm", name))
            if name == SEEDED:
                place.inside(worker, ["sh", "-c", _HAS_BOTH, "sh", SEEDED])
            run(vmops.fab(place, "stop", "--force", "--vm", name))
            if number:  # the first is a warm-up
                seconds.append(launch)
        run(vmops.fab(place, "destroy", "--yes", "--vm", SEEDED))
    more = [with_disk - without for without, with_disk in zip(*took.values(), strict=True)]
    return {
        "rows": [
            {
                "without": round(median(took[PLAIN]), 4),
                "with": round(median(took[SEEDED]), 4),
                "more_ms": round(1000 * median(more), 1),
            }
        ]
    }


def _seconds(call: Call) -> float:
    begun = time.monotonic()
    run(call)
    return time.monotonic() - begun
