"""`python -m tests.guests linux` builds a guest's disk when it is not there and prints its path."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import (
    GuestBuildError,
    PowerButton,
    agent_image,
    boot_sector_image,
    cache_directory,
    counter_image,
    debian_image,
    ipxe_image,
    linux_image,
    seed_image,
    talker_image,
)

_GUESTS: dict[str, Callable[[Path], Path]] = {
    "agent": agent_image,
    "boot-sector": boot_sector_image,
    "boot-sector-deaf": partial(boot_sector_image, button=PowerButton.DEAF),
    "boot-sector-twice": partial(boot_sector_image, button=PowerButton.TWICE),
    "counter": counter_image,
    "debian": debian_image,
    "ipxe": ipxe_image,
    "linux": linux_image,
    "linux-seed": seed_image,
    "talker": talker_image,
}


def main() -> int:
    """Exit code 1, and one line that says why, when the disk cannot be built."""
    parser = argparse.ArgumentParser(prog="python -m tests.guests", description=__doc__)
    parser.add_argument("guest", choices=sorted(_GUESTS))
    try:
        path = _GUESTS[parser.parse_args().guest](cache_directory())
    except GuestBuildError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(path)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
