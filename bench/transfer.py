"""An image to a worker: by vmops, scp, rsync -S and sftp, in turns, in one lab."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.errors import BenchFailed
from bench.place import PORT, ROOT, Place
from bench.results import Results

DENSE_MB, SPARSE_MB, SPARSE_DATA = 512, 2048, 10
THERE = "/home/ubuntu/bench-image"


class Taken(NamedTuple):
    """One transfer: seconds, and the most memory of any process of it here, in MiB: no less than
    the bench itself has, as the kernel counts from the fork on."""

    seconds: float
    peak_mib: float


def transfer(place: Place, rounds: int, *, say: Callable[[str], None]) -> Results:
    """What each way took: for an image that cannot be packed, and for one that is mostly holes.

    vmops makes the sum of a file in the first round, and knows it then. Raises BenchFailed when a
    transfer fails.
    """
    (worker,) = place.grow(1)
    found: Results = {}
    for name, mib, every in (("dense", DENSE_MB, 1), ("sparse", SPARSE_MB, SPARSE_DATA)):
        image = _image(place.directory / f"{name}.raw", mib, every)
        all_ways = _ways(place, worker, image)
        ways = {way: argv for way, argv in all_ways.items() if shutil.which(argv[0])}
        taken: dict[str, list[Taken]] = {way: [] for way in ways}
        for round_ in range(rounds):
            for way, argv in ways.items():
                say(f"{name}, round {round_ + 1}: {way}")
                _clear(place, worker)
                taken[way].append(_timed(argv, place))
        found[name] = {
            "mib": mib,
            "data_mib": mib // every,
            "ways": {way: _entry(each, taken.get("scp")) for way, each in taken.items()},
            "missing": [way for way in all_ways if way not in ways],
        }
    return found


def _image(path: Path, mib: int, every: int) -> Path:
    """Random data in every so many MiB, holes between."""
    data = random.Random(mib)
    with path.open("wb") as file:
        for at in range(0, mib, every):
            file.seek(at << 20)
            file.write(data.randbytes(1 << 20))
        file.truncate(mib << 20)
    return path


def _ways(place: Place, worker: str, image: Path) -> Mapping[str, Sequence[str]]:
    hosts = place.directory / "images.toml"
    said = f'\n[images.bench]\nfile = "{image}"\nformat = "raw"\n'
    hosts.write_text(place.lab.inventory.read_text().partition("\n[vms.")[0] + said)
    there = f"ubuntu@{place.worker(worker).address}"
    options = (*place.ssh_options(), "-i", str(place.lab.private_key))
    ssh = " ".join(("ssh", *options, "-p", str(PORT)))
    fab = str(Path(sys.executable).parent / "fab")
    return {
        "vmops": ("env", f"VMOPS_HOSTS={hosts}", fab, "-H", worker, "image.push"),
        "scp": ("scp", "-q", *options, "-P", str(PORT), str(image), f"{there}:{THERE}"),
        "rsync -S": ("rsync", "-S", "--inplace", "-e", ssh, str(image), f"{there}:{THERE}"),
        "sftp": (
            "sh",
            "-c",
            'image=$1; shift; echo "put $image ' + THERE + '" | sftp -q -b - "$@"',
            "sh",
            str(image),
            *options,
            "-P",
            str(PORT),
            there,
        ),
    }


def _clear(place: Place, worker: str) -> None:
    gone = f"rm -rf {THERE} /home/ubuntu/vm_images/.vmops"
    place.lab.run(worker, ["sh", "-c", gone])


def _timed(argv: Sequence[str], place: Place) -> Taken:
    log = place.directory / "transfer.log"
    with log.open("w") as said:
        began = time.monotonic()
        process = subprocess.Popen(
            argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise BenchFailed(f"{' '.join(argv)[:80]}: {log.read_text()[-300:]}")
    return Taken(time.monotonic() - began, used.ru_maxrss / 1024)


def _entry(taken: Sequence[Taken], by_scp: Sequence[Taken] | None) -> Results:
    """Medians; `of_scp` is the one of the rounds' ratios."""
    ratios = [one.seconds / other.seconds for one, other in zip(taken, by_scp or (), strict=False)]
    return {
        "seconds": round(statistics.median(one.seconds for one in taken), 4),
        "of_scp": round(statistics.median(ratios), 3) if ratios else None,
        "peak_mib": round(max(one.peak_mib for one in taken), 1),
        "runs": [round(one.seconds, 4) for one in taken],
    }
