"""Disks of small guests for tests and for the demo, made from Debian packages and kept in a cache.

Every image is qcow2, boots by SeaBIOS, and is meant to be copied or used under an overlay:
the file in the cache is shared. Building needs no root.
"""

from __future__ import annotations

from .agent import agent_image
from .boot_sector import BANNER, PowerButton, boot_sector_image
from .cache import cache_directory
from .counter import counter_image, counts
from .debian import debian_image
from .ipxe import empty_image, ipxe_address, ipxe_image
from .linux import PROMPT, linux_address, linux_image, seed_image, traffic_image
from .talker import talker_image
from .tools import GuestBuildError, require_tools

__all__ = [
    "BANNER",
    "PROMPT",
    "GuestBuildError",
    "PowerButton",
    "agent_image",
    "boot_sector_image",
    "cache_directory",
    "counter_image",
    "counts",
    "debian_image",
    "empty_image",
    "ipxe_address",
    "ipxe_image",
    "linux_address",
    "linux_image",
    "require_tools",
    "seed_image",
    "talker_image",
    "traffic_image",
]
