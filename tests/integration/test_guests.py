"""Each guest does what other tests rely on, in a QEMU that vmops did not start."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.guests import (
    BANNER,
    PROMPT,
    PowerButton,
    boot_sector_image,
    cache_directory,
    empty_image,
    ipxe_address,
    ipxe_image,
    linux_address,
    linux_image,
    require_tools,
)
from tests.guests.machine import Machine, nic

Boot = Callable[..., Machine]

UUID = "5c3a0f0e-8f0b-5d0e-9a53-6f6b1f1c7a10"
CTRL_D = "\x04"
ANSWER_S = 20
LINUX_UP_S = 90


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Boot]:
    """Start a machine: name, image, MiB of memory, QEMU's options. All end with the test."""
    require_tools("qemu-system-x86_64", "qemu-img", "as", "ld", "apt-get", "dpkg-deb")
    with ExitStack() as running:

        def start(name: str, image: Path, memory_mb: int, *options: str) -> Machine:
            machine = Machine(tmp_path / name, image, memory_mb=memory_mb, options=options)
            return running.enter_context(machine)

        yield start


def boot_sector(boot: Boot, button: PowerButton = PowerButton.ONCE) -> Machine:
    machine = boot("guest", boot_sector_image(cache_directory(), button), 32)
    machine.wait_for(BANNER, timeout=ANSWER_S)
    return machine


def colours(ppm: bytes) -> set[bytes]:
    _, _, _, pixels = ppm.split(b"\n", 3)
    return {pixels[at : at + 3] for at in range(0, len(pixels), 3)}


def test_boot_sector_answers_in_capitals(boot: Boot) -> None:
    guest = boot_sector(boot)
    guest.type("hello, 9 worlds\r")
    guest.wait_for("> HELLO, 9 WORLDS\r\n> ", timeout=ANSWER_S)


def test_boot_sector_changes_its_screen_at_a_key(boot: Boot) -> None:
    guest = boot_sector(boot)
    before = guest.screen()
    guest.press("k")
    guest.wait_for("VMOPS-KEY k", timeout=ANSWER_S)
    after = guest.screen()
    assert before.startswith(b"P6\n720 400\n255\n")
    assert len(colours(before)) == len(colours(after)) == 2
    assert colours(before) != colours(after)


def test_boot_sector_powers_off_at_the_button(boot: Boot) -> None:
    guest = boot_sector(boot)
    guest.ask("system_powerdown")
    guest.wait_off(timeout=ANSWER_S)
    assert guest.process.returncode == 0
    assert guest.printed.count("VMOPS-POWER-BUTTON") == 1


def test_boot_sector_that_needs_two_presses_outlives_the_first(boot: Boot) -> None:
    guest = boot_sector(boot, PowerButton.TWICE)
    guest.ask("system_powerdown")
    guest.wait_for("VMOPS-POWER-BUTTON", timeout=ANSWER_S)
    guest.type("still here")
    guest.wait_for("STILL HERE", timeout=ANSWER_S)
    guest.ask("system_powerdown")
    guest.wait_off(timeout=ANSWER_S)
    assert guest.process.returncode == 0


def test_deaf_boot_sector_hears_no_button_but_can_be_told(boot: Boot) -> None:
    guest = boot_sector(boot, PowerButton.DEAF)
    guest.ask("system_powerdown")
    guest.ask("system_powerdown")
    guest.type("still here")
    guest.wait_for("STILL HERE", timeout=ANSWER_S)
    assert "VMOPS-POWER-BUTTON" not in guest.printed
    guest.type(CTRL_D)
    guest.wait_off(timeout=ANSWER_S)
    assert guest.process.returncode == 0


def test_empty_disk_makes_the_card_ask_for_an_address(boot: Boot, tmp_path: Path) -> None:
    mac = "52:54:00:03:e9:01"
    own, peer = tmp_path / "own", tmp_path / "peer"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
        wire.bind(str(peer))
        wire.settimeout(20)
        boot("guest", empty_image(tmp_path / "empty.qcow2"), 32, *nic(own, peer, mac=mac))
        frame = wire.recv(2048)
    ports_of_dhcp = bytes.fromhex("0044 0043")
    assert frame[0:6] == b"\xff" * 6
    assert frame[6:12] == bytes.fromhex(mac.replace(":", ""))
    assert frame[12:14] == b"\x08\x00"
    assert frame[34:38] == ports_of_dhcp


def test_linux_has_a_shell_and_powers_off_at_the_button(boot: Boot) -> None:
    guest = boot("guest", linux_image(cache_directory()), 96)
    guest.wait_for(BANNER, timeout=LINUX_UP_S)
    guest.wait_for(PROMPT, timeout=ANSWER_S)
    guest.type("echo user $(id -u)\r")
    guest.wait_for("user 0", timeout=ANSWER_S)
    assert len(colours(guest.screen())) > 1
    guest.ask("system_powerdown")
    guest.wait_off(timeout=ANSWER_S)
    assert guest.process.returncode == 0


@pytest.mark.timeout(300)
def test_linux_reaches_its_neighbours_by_e1000_and_virtio(boot: Boot, tmp_path: Path) -> None:
    """`near` has two cards: e1000 to a second Linux, virtio to an iPXE."""
    near1, near2, far1, ipxe2 = (tmp_path / f"{name}.wire" for name in ("n1", "n2", "f1", "i2"))
    near_mac, far_mac = "52:54:00:03:e9:01", "52:54:00:03:ea:01"
    near_cards = nic(near1, far1, mac=near_mac)
    near_cards += nic(near2, ipxe2, mac="52:54:00:03:e9:02", model="virtio-net-pci")
    far_card = nic(far1, near1, mac=far_mac)
    ipxe_card = nic(ipxe2, near2, mac="52:54:00:03:eb:02", model="virtio-net-pci")
    near = boot("near", linux_image(cache_directory()), 96, *near_cards)
    boot("far", linux_image(cache_directory()), 96, *far_card)
    boot("ipxe", ipxe_image(cache_directory()), 32, *ipxe_card, "-uuid", UUID)
    near.wait_for(PROMPT, timeout=LINUX_UP_S)
    near.type("ip -4 address\r")
    near.wait_for(f"inet {linux_address(near_mac)}/16 scope global eth1", timeout=ANSWER_S)

    near.type("ip address add 10.78.0.1/16 dev eth2\r")
    for neighbour in (linux_address(far_mac), ipxe_address(UUID)):
        near.type(f"until ping -c 1 -W 1 {neighbour}; do sleep 1; done\r")
        near.wait_for(f"64 bytes from {neighbour}: ", timeout=LINUX_UP_S)
