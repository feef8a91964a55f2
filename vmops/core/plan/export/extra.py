"""`extra_args` beside libvirt's own words for QEMU, and out of them again.

QEMU makes the devices of such words before those that libvirt writes as JSON, and gives each PCI
device the first slot that is free: one that libvirt has given away. So each gets a slot of its own
at the far end, where libvirt begins last. The graphics card is libvirt's own to make.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

VGA = "vga"
_LAST_SLOT = 0x1B
"""Behind it a q35 has devices of its own."""

_CARDS = {
    "std": "vga",
    "cirrus": "cirrus",
    "qxl": "qxl",
    "virtio": "virtio",
    "vmware": "vmvga",
    "none": "none",
}
_NO_PCI = frozenset(
    (
        *("usb-hub", "usb-kbd", "usb-mouse", "usb-tablet", "usb-wacom-tablet", "ib700", "pvpanic"),
        *("vmgenid", "intel-iommu", "amd-iommu", "ramfb", "isa-debug-exit", "vmcoreinfo"),
    )
)


def for_libvirt(args: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """libvirt's word for the graphics card, and the words that are left."""
    card = VGA
    words: list[str] = []
    slot = _LAST_SLOT
    for before, word in pairwise(["", *args]):
        if before == "-vga":
            card = _CARDS.get(word, VGA)
        elif before == "-device" and _takes_a_slot(word):
            words.append(f"{word},addr={slot:#x}")
            slot -= 1
        elif word != "-vga":
            words.append(word)
    return card, tuple(words)


def _takes_a_slot(device: str) -> bool:
    model, *properties = device.removeprefix("driver=").split(",")
    keys = {each.partition("=")[0] for each in properties}
    return model not in _NO_PCI and not keys & {"addr", "bus"}


def from_libvirt(card: str, words: Sequence[str], *, ours: bool) -> list[str]:
    """The `extra_args` of a card and words. With `ours` the slots that were given here go again."""
    slot = _LAST_SLOT
    found: list[str] = []
    for word in words:
        plain = word.removesuffix(f",addr={slot:#x}") if ours else word
        slot -= plain != word
        found.append(plain)
    names = {value: key for key, value in _CARDS.items()}
    return [*found, *(("-vga", names[card]) if card in names and card != VGA else ())]
