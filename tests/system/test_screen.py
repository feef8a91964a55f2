"""Screenshots, contact sheets and keys, of guests on real workers, on good days and on bad ones."""

from __future__ import annotations

import subprocess
import time
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from vmops.lab import Lab

from .lab_helpers import wait_until
from .operator import FAB, ROOT, Operator, Said, small_vm
from .seat import console_log, guest, kill

SCREEN = (720, 400)
GROUND = (0, 0, 168)
"""What the guest paints its screen with before a key is pressed."""

BOUND_S = 20
PRINTABLE = "".join(map(chr, range(ord(" "), ord("~") + 1)))


def colours(path: Path) -> list[tuple[int, object]]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return sorted(image.convert("RGB").getcolors(2**24) or [], reverse=True)


def fields(sheet: Path) -> list[set[object]]:
    """The colours in each of the two or four fields of a sheet."""
    with Image.open(sheet) as image:
        rows = round(image.height / 360)
        size = (image.width // 2, image.height // rows)
        corners = [(column * size[0], row * size[1]) for row in range(rows) for column in (0, 1)]
        parts = [image.crop((x, y, x + size[0], y + size[1])) for x, y in corners]
        return [{colour for _, colour in part.getcolors(2**24) or []} for part in parts]


def left_behind(operator: Operator) -> list[str]:
    names = operator.on("worker1", "ls", "/run/vmops/vm1").split()
    return [name for name in names if "screen" in name]


def test_a_screenshot_shows_the_screen_and_what_a_key_changes(operator: Operator) -> None:
    vm = guest(operator)
    first, second = operator.folder / "1.png", operator.folder / "2.png"
    said = operator.ok("screenshot", "--vm", "vm1", "--output", str(first), "--format", "json")
    assert said.json == [
        {
            "vm": "vm1",
            "worker": "worker1",
            "width": 720,
            "height": 400,
            "file": str(first),
            "sheet": None,
            "error": None,
        }
    ]
    assert Image.open(first).size == SCREEN
    assert len(colours(first)) > 1, "letters on a ground"
    operator.ok("sendkey", "--vm", "vm1", "--keys", "q")
    wait_until(lambda: "VMOPS-KEY q" in console_log(operator, vm))
    said = operator.ok("screenshot", "--vm", "vm1", "--output", str(second))
    assert said.out == f"{second}\n"
    assert colours(first)[0][1] != colours(second)[0][1], "another ground"
    assert left_behind(operator) == []


def test_a_screenshot_to_standard_output_is_the_png_alone(operator: Operator) -> None:
    guest(operator)
    argv = [FAB, "screenshot", "--vm", "vm1", "--output", "-"]
    done = subprocess.run(
        argv, cwd=ROOT, env=operator.environment(), capture_output=True, check=True, timeout=60
    )
    assert Image.open(BytesIO(done.stdout)).size == SCREEN
    assert done.stdout.endswith(b"IEND\xaeB`\x82")


def test_a_file_that_is_there_is_kept(operator: Operator) -> None:
    guest(operator)
    path = operator.folder / "a.png"
    path.write_bytes(b"precious")
    said = operator.fab("screenshot", "--vm", "vm1", "--output", str(path))
    assert said.code == 2
    assert "exists already" in said.err
    assert path.read_bytes() == b"precious"
    operator.ok("screenshot", "--vm", "vm1", "--output", str(path), "--force")
    assert Image.open(path).size == SCREEN


def test_a_contact_sheet_of_the_whole_fleet(operator: Operator, lab: Lab) -> None:
    guest(operator, "up1")
    guest(operator, "up2", worker="worker2")
    crashed = guest(operator, "crashed")
    kill(operator, crashed)
    operator.add(small_vm("stopped", 9))
    sheet = operator.folder / "fleet.png"
    lab.fault("worker2", "drop")
    try:
        said = operator.fab("screenshot", "--vm", "*", "--output", str(sheet), "--each")
    finally:
        lab.heal("worker2")
    assert said.code == 1
    for reason in ("crashed has crashed", "stopped is stopped", "worker2: "):
        assert reason in said.err
    assert said.out.split() == [str(sheet), str(operator.folder / "fleet-up1.png")]
    assert [GROUND in field for field in fields(sheet)] == [True, False, False, False]
    said = operator.ok("screenshot", "--vm", "up*", "--output", str(sheet), "--force")
    assert [GROUND in field for field in fields(sheet)] == [True, True]


def test_a_worker_that_is_down_is_exit_code_3(operator: Operator, lab: Lab) -> None:
    guest(operator)
    lab.fault("worker1", "drop")
    try:
        for words in (["screenshot"], ["sendkey", "--keys", "a"], ["type", "--text", "a"], ["vnc"]):
            said = operator.fab(*words, "--vm", "vm1")
            assert (said.code, said.out) == (3, ""), said
            assert 1 <= len(said.err.splitlines()) <= 3
    finally:
        lab.heal("worker1")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("stopped", "vm1 is stopped"),
        ("crashed", "vm1 has crashed"),
        ("frozen", "held by a signal (SIGSTOP)"),
    ],
)
@pytest.mark.parametrize(
    "words",
    [
        ["screenshot"],
        ["sendkey", "--keys", "a"],
        ["type", "--text", "a"],
        ["vnc", "--no-viewer"],
    ],
    ids=lambda words: words[0],
)
def test_a_vm_that_cannot_be_looked_at(
    operator: Operator, words: list[str], state: str, reason: str
) -> None:
    vm = guest(operator)
    if state == "stopped":
        operator.ok("stop", "--force", "--vm", "vm1")
    else:
        kill(operator, vm, "-9" if state == "crashed" else "-STOP")
    said, took_s = timed(operator, *words, "--vm", "vm1")
    if state == "frozen":
        kill(operator, vm, "-CONT")
    assert (said.code, said.out) == (1, "")
    assert reason in said.err
    assert "worker1" in said.err
    assert 1 <= len(said.err.splitlines()) <= 3
    assert took_s < BOUND_S


def timed(operator: Operator, *words: str) -> tuple[Said, float]:
    begun = time.monotonic()
    said = operator.fab(*words)
    return said, time.monotonic() - begun


def test_a_vm_that_nobody_knows_is_exit_code_2(operator: Operator) -> None:
    for words in (["screenshot"], ["sendkey", "--keys", "a"], ["type", "--text", "a"], ["vnc"]):
        said = operator.fab(*words, "--vm", "nobody")
        assert said.code == 2
        assert "there is no VM 'nobody'" in said.err


def test_all_that_a_us_keyboard_can_type_arrives_in_order(operator: Operator) -> None:
    vm = guest(operator)
    text = PRINTABLE * 2
    operator.ok("type", "--vm", "vm1", "--text", text.replace("\\", "\\\\"), "--hold", "10")
    wait_until(lambda: console_log(operator, vm).count("VMOPS-KEY ") == len(text))
    read = [part[0] for part in console_log(operator, vm).split("VMOPS-KEY ")[1:]]
    assert "".join(read) == text


def test_text_comes_from_standard_input_as_it_is(operator: Operator) -> None:
    vm = guest(operator)
    argv = [FAB, "type", "--vm", "vm1", "--text", "-"]
    subprocess.run(
        argv,
        cwd=ROOT,
        env=operator.environment(),
        input=b"a\\n",
        capture_output=True,
        check=True,
        timeout=60,
    )
    wait_until(lambda: console_log(operator, vm).count("VMOPS-KEY ") == 3)
    read = [part[0] for part in console_log(operator, vm).split("VMOPS-KEY ")[1:]]
    assert read == ["a", "\\", "n"]


def test_what_cannot_be_typed_is_refused_before_anything_is_sent(operator: Operator) -> None:
    vm = guest(operator)
    said = operator.fab("type", "--vm", "vm1", "--text", "naïve")
    assert said.code == 2
    assert "'ï'" in said.err
    said = operator.fab("sendkey", "--vm", "vm1", "--keys", "a ctrl-foo")
    assert said.code == 2
    assert "'foo'" in said.err
    assert "VMOPS-KEY" not in console_log(operator, vm)


def test_a_paused_guest_is_sent_nothing(operator: Operator) -> None:
    vm = guest(operator)
    operator.ok("pause", "--vm", "vm1")
    said = operator.fab("sendkey", "--vm", "vm1", "--keys", "a")
    assert said.code == 1
    assert "it is paused" in said.err
    operator.ok("screenshot", "--vm", "vm1", "--output", str(operator.folder))
    operator.ok("resume", "--vm", "vm1")
    operator.ok("sendkey", "--vm", "vm1", "--keys", "b")
    wait_until(lambda: "VMOPS-KEY b" in console_log(operator, vm))
    assert "VMOPS-KEY a" not in console_log(operator, vm)


def test_keys_go_to_several_vms_at_once(operator: Operator) -> None:
    both = [guest(operator, "vm1"), guest(operator, "vm2")]
    said = operator.ok("sendkey", "--vm", "vm*", "--keys", "a b", "--format", "json")
    assert said.json == [
        {"vm": "vm1", "worker": "worker1", "chords": 2, "error": None},
        {"vm": "vm2", "worker": "worker1", "chords": 2, "error": None},
    ]
    wait_until(lambda: all("VMOPS-KEY b" in console_log(operator, vm) for vm in both))


def test_a_link_that_a_hostile_qemu_leaves_is_not_followed(operator: Operator) -> None:
    """Its run directory is its own: what it puts in the picture's place must not be read."""
    from vmops.core.devices import screen
    from vmops.core.script.command import Block
    from vmops.inventory_file import load
    from vmops.ops.act import perform
    from vmops.ops.route import Route

    guest(operator)
    path = screen.picture_path("vm1", "0")
    operator.on("worker1", "ln", "-s", "/etc/shadow", path)
    route = Route(load(operator.hosts_toml).worker("worker1"))
    block = Block("vm1", screen.fetching(path))
    (result,) = perform(route, [block], time_limit_s=30)
    found = result.find(screen.PICTURE)
    assert found is not None
    assert not found.ok
    assert found.stdout == b""
    assert left_behind(operator) == []


def test_dry_says_what_the_monitor_would_be_told(operator: Operator) -> None:
    operator.add(small_vm("vm1", 1), image=False)
    told = {
        "screenshot": '"execute": "screendump"',
        "sendkey --keys ctrl-a": '"data": "ctrl"',
        "type --text a": '"execute": "send-key"',
        "vnc": '"execute": "set_password"',
    }
    for words, message in told.items():
        said = operator.ok("--dry", *words.split(), "--vm", "vm1")
        assert message in said.out
        assert "/run/vmops/vm1/qmp.sock" in said.out
