"""What the monitor is asked for a screen and for VNC, the files of pictures, the viewers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vmops.core.devices import display, machine
from vmops.core.devices import screen as screens
from vmops.core.devices.disk import unobjectionable
from vmops.core.devices.display import Screen
from vmops.core.inventory.conflicts import conflicts
from vmops.core.inventory.model import VM
from vmops.core.plan.capacity import refusal
from vmops.core.plan.drift import launch_values
from vmops.core.plan.starting import boot, launch
from vmops.core.tools import qemu
from vmops.core.tools.monitor import Heard, Refused
from vmops.errors import InventoryError, WorkFailed
from vmops.tasks.guest.picture_files import save, targets
from vmops.tasks.guest.viewers import choose

from .worlds import EMPTY, VM1, WORKER, commands, plugged


@pytest.mark.parametrize("png", [True, False])
def test_a_picture_is_asked_for_in_the_format_that_is_known(png: bool) -> None:
    arguments = screens.dump("/run/vmops/vm1/screen-1", png=png).arguments
    assert arguments is not None
    assert arguments.get("format") == ("png" if png else None)


@pytest.mark.parametrize(
    ("answers", "is_old"),
    [
        ((Refused("Parameter 'format' is unexpected"),), True),
        ((Refused("Failed to open file"),), False),
        (({},), False),
        ((), False),
    ],
)
def test_only_a_qemu_that_refuses_the_format_is_asked_again(
    answers: tuple[Any, ...], is_old: bool
) -> None:
    assert screens.knows_no_png(Heard("vm1", answers)) is is_old


def test_a_picture_is_fetched_without_following_a_link_and_removed() -> None:
    path = screens.picture_path("vm1", "abc")
    assert path == "/run/vmops/vm1/screen-abc"
    dump, read, remove = screens.take("vm1", path, png=True).numbered()
    assert "nofollow" in read.commands[0].argv[2]
    assert dump.undo == remove.commands
    assert remove.commands[0].argv == ("rm", "-f", "--", path)


@pytest.mark.parametrize(
    ("option", "reached"),
    [
        ("127.0.0.1:1,password=on", ("127.0.0.1", Screen("127.0.0.1", 5901, True))),
        ("0.0.0.0:1", ("127.0.0.1", Screen("0.0.0.0", 5901))),
        (":7", ("127.0.0.1", Screen("", 5907))),
        ("[::]:7", ("::1", Screen("::", 5907))),
        ("192.0.2.7:0", ("192.0.2.7", Screen("192.0.2.7", 5900))),
    ],
)
def test_where_a_running_vms_vnc_is_reached(option: str, reached: tuple[str, Screen]) -> None:
    screen = machine.parse([qemu.BINARY, "-vnc", option]).screen
    assert (screen.address, screen) == reached


def test_a_screen_without_a_port_is_a_socket_and_the_line_is_read_back() -> None:
    vm = replace(VM1, vnc_port=None)
    screen = launch_values(replace(WORKER, vnc_listen="0.0.0.0"), vm, EMPTY).screen
    assert screen == Screen(path="/run/vmops/vm1/vnc.sock", has_password=True)
    assert machine.parse(["qemu", *display.words(screen)]).screen == screen
    assert str(screen) == "unix:/run/vmops/vm1/vnc.sock"
    assert display.risk("vm1", "worker1", screen) == ""
    tcp = display.wanted(None, 5901, vm="vm1")
    assert [str(d) for d in display.drift(tcp, screen)] == [f"vnc_port: 5901 -> {screen.path}"]
    assert display.drift(screen, screen) == []


def test_vms_without_a_port_take_none_from_each_other() -> None:
    first, second = replace(VM1, vnc_port=None), replace(VM1, name="b", vm_id=2, vnc_port=None)
    second = replace(second, interfaces=(), qcow_image="/b")
    assert not conflicts({}, {vm.name: vm.to_dict() for vm in (first, second)})
    assert "vnc_port" not in first.to_dict()
    assert VM.from_dict(first.to_dict()) == first
    images = {vm.qcow_image: unobjectionable(vm.qcow_image) for vm in (first, second)}
    seen = EMPTY._replace(images=images, listening=frozenset({0, 5900}))
    assert refusal(WORKER, [first, second], seen) is None
    made = launch(WORKER, first, seen)
    sockets = next(line for line in commands(made, "QEMU") if line.startswith("record_process"))
    assert sockets.endswith(" console.sock vnc.sock")


@pytest.mark.parametrize("option", ["none", ""])
def test_a_qemu_without_a_tcp_port_for_vnc_has_none(option: str) -> None:
    screen = machine.parse([qemu.BINARY, "-vnc", option]).screen
    assert (screen.port, str(screen)) == (0, "")


def test_a_password_has_as_many_letters_as_vnc_looks_at() -> None:
    letters = iter("abcdefghij")
    assert display.new_password(lambda among: next(letters)) == "abcdefgh"
    assert len(set(display.PASSWORD_CHARACTERS)) == len(display.PASSWORD_CHARACTERS)
    assert not set("0O1lI") & set(display.PASSWORD_CHARACTERS)


def test_a_password_is_replaced_before_it_is_let_expire() -> None:
    given, until = display.lend("secret12", seconds=120)
    assert given.arguments == {"protocol": "vnc", "password": "secret12"}
    assert until.arguments == {"protocol": "vnc", "time": "+120"}
    replaced, expired = display.void("other345")
    assert replaced.arguments == {"protocol": "vnc", "password": "other345"}
    assert expired.arguments == {"protocol": "vnc", "time": "now"}


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:7f00:1"])
def test_loopback_is_no_risk_to_name(listen: str) -> None:
    assert display.risk("vm1", "w1", Screen(listen, 5901)) == ""


@pytest.mark.parametrize("listen", ["0.0.0.0", "::", "192.0.2.1", "::ffff:c000:201", ""])
def test_vnc_that_is_open_to_others_is_warned_of(listen: str) -> None:
    said = display.risk("vm1", "w1", Screen(listen, 5901))
    assert all(word in said for word in ("vm1", "5901", listen, "w1", "no password"))
    assert all(cure in said for cure in ("hosts.toml", 'vnc_listen="127.0.0.1"'))
    assert len(said.splitlines()) <= 3


@pytest.mark.parametrize(
    ("listen", "warned"), [(None, False), ("127.0.0.1", False), ("0.0.0.0", True)]
)
def test_a_launch_warns_of_vnc_that_is_open_to_others(listen: str | None, warned: bool) -> None:
    worker = replace(WORKER, vnc_listen=listen)
    for plan in (launch(worker, VM1, EMPTY), boot(worker, VM1, plugged())):
        assert any("no password" in note for note in plan.notes) is warned


@pytest.mark.parametrize(
    ("platform", "there", "argv"),
    [
        ("linux", {"vncviewer", "remote-viewer", "gvncviewer"}, ("vncviewer", "127.0.0.1::40001")),
        ("linux", {"remote-viewer", "gvncviewer"}, ("remote-viewer",)),
        ("linux", {"gvncviewer"}, ("gvncviewer", "127.0.0.1:34101")),
        ("darwin", set(), ("open", "vnc://127.0.0.1:40001")),
    ],
)
def test_a_viewer_is_started_without_the_password_on_its_command_line(
    platform: str, there: set[str], argv: tuple[str, ...]
) -> None:
    viewer = choose(40001, "secret12", platform=platform, has=there.__contains__)
    assert viewer is not None
    assert viewer.argv == argv
    elsewhere = f"{dict(viewer.environment)} {viewer.file}"
    assert ("secret12" in elsewhere) is viewer.takes_password


def test_no_viewer_where_none_is_installed_or_none_can_reach_the_port() -> None:
    assert choose(40001, "", platform="linux", has=lambda name: False) is None
    assert choose(5000, "", platform="linux", has=lambda name: name == "gvncviewer") is None


def test_a_server_without_password_gets_none_from_a_viewer() -> None:
    for name in ("vncviewer", "remote-viewer"):
        viewer = choose(40001, "", platform="linux", has=name.__eq__)
        assert viewer is not None
        assert viewer.environment == {}
        assert "password" not in viewer.file


def test_a_picture_is_named_by_the_vm_and_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stamp = r"-\d{8}-\d{6}\.png"
    assert re.fullmatch("vm1" + stamp, str(targets(["vm1"], "", each=False, force=False).main))
    sheet = targets(["vm1", "vm2"], str(tmp_path), each=False, force=False)
    assert sheet.main.parent == tmp_path
    assert re.fullmatch("screens" + stamp, sheet.main.name)


@pytest.mark.parametrize(
    ("vms", "each", "names"),
    [
        (["vm1"], False, ["a.png"]),
        (["vm1"], True, ["a.png"]),
        (["vm1", "vm2"], False, ["a.png"]),
        (["vm1", "vm2"], True, ["a.png", "a-vm1.png", "a-vm2.png"]),
    ],
)
def test_the_files_of_one_and_of_several(
    tmp_path: Path, vms: list[str], each: bool, names: list[str]
) -> None:
    found = targets(vms, str(tmp_path / "a.png"), each=each, force=False)
    assert [path.name for path in (found.main, *found.each.values())] == names
    assert found.is_sheet is (len(vms) > 1)


def test_no_file_is_overwritten_unasked(tmp_path: Path) -> None:
    there = tmp_path / "a-vm2.png"
    there.write_bytes(b"precious")
    with pytest.raises(InventoryError, match=r"a-vm2\.png exists already\n  --force replaces it"):
        targets(["vm1", "vm2"], str(tmp_path / "a.png"), each=True, force=False)
    targets(["vm1", "vm2"], str(tmp_path / "a.png"), each=True, force=True)
    targets(["vm1", "vm2"], str(tmp_path / "a.png"), each=False, force=False)
    assert there.read_bytes() == b"precious"


def test_several_files_that_are_there_exist(tmp_path: Path) -> None:
    for name in ("a.png", "a-vm1.png"):
        (tmp_path / name).touch()
    with pytest.raises(InventoryError, match=r"a-vm1\.png exist already\n  --force replaces them"):
        targets(["vm1", "vm2"], str(tmp_path / "a.png"), each=True, force=False)


def test_two_pictures_of_one_second_get_two_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.strftime", lambda _: "20250131-120000")
    names = []
    for _ in range(3):
        found = targets(["vm1"], str(tmp_path), each=False, force=False).main
        found.touch()
        names.append(found.name)
    stem = "vm1-20250131-120000"
    assert names == [f"{stem}.png", f"{stem}-2.png", f"{stem}-3.png"]


def test_a_folder_that_is_not_there_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InventoryError, match="there is no folder nowhere"):
        targets(["vm1"], "nowhere/", each=False, force=False)


@pytest.mark.parametrize("output", ["a.jpg", "a", "nowhere/a.png"])
def test_a_file_that_cannot_be_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InventoryError):
        targets(["vm1"], output, each=False, force=False)


def test_a_picture_is_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save(path, b"first")
    save(path, b"second")
    assert path.read_bytes() == b"second"
    folder = tmp_path / "b.png"
    folder.mkdir()
    with pytest.raises(WorkFailed, match=r"cannot write .*b\.png"):
        save(folder, b"third")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_link_at_the_temporary_name_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can write in the folder might guess the name."""
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".vmops-guessed").symlink_to(victim)
    with pytest.raises(WorkFailed, match=r"cannot write .*File exists"):
        save(tmp_path / "a.png", b"picture")
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize(
    "output", ["a" * 300 + ".png", "x/" * 3000 + "a.png", "~nobody-there/a.png"]
)
def test_a_name_that_cannot_be_is_a_plain_message(output: str) -> None:
    with pytest.raises(InventoryError, match=r"--output|there is no folder"):
        targets(["vm1"], output, each=False, force=False)


def test_the_longest_name_that_can_be_is_saved(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 251 + ".png")
    save(targets(["vm1"], str(path), each=False, force=False).main, b"picture")
    assert path.read_bytes() == b"picture"
    assert list(tmp_path.iterdir()) == [path]
