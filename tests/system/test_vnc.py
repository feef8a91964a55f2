"""VNC as a viewer sees it: who gets in, from where, and for how long."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from vmops import RemoteExecutor, VMLauncher, load
from vmops.core.names import RunDirectory, qemu_uid
from vmops.lab import Lab

from . import rfb
from .operator import Operator
from .seat import guest, kill
from .showing import from_the_worker, showing

REFUSED = "refused: Authentication failed"
LETTER_Q = ord("q")


def vnc_port(operator: Operator, name: str) -> int | None:
    return next(vm.vnc_port for vm, _ in operator.vms if vm.name == name)


def test_nobody_gets_in_before_and_after_and_nobody_else_meanwhile(
    operator: Operator, lab: Lab
) -> None:
    vm = guest(operator)
    for password in ("", "password"):
        assert from_the_worker(lab, vm.vnc_port, password).startswith(REFUSED)
    with showing(operator, "vm1") as shown:
        assert len(shown.password) == 8
        for wrong in ("", shown.password[:-1], shown.password.swapcase()):
            with pytest.raises(rfb.Refused, match="Authentication failed"):
                rfb.connect(shown.port, wrong)
        assert from_the_worker(lab, vm.vnc_port).startswith(REFUSED)
        screen = rfb.connect(shown.port, shown.password)
        assert screen.size == (720, 400)
        assert screen.name == "QEMU (vm1)"
        before = screen.picture()
        assert len({before[at : at + 4] for at in range(0, len(before), 4)}) > 1
        screen.press(LETTER_Q)
        screen.close()
        assert shown.end() == 0
        assert from_the_worker(lab, vm.vnc_port, shown.password).startswith(REFUSED)
    with pytest.raises(ConnectionRefusedError):
        rfb.connect(shown.port, shown.password)


def test_the_password_is_in_no_log_and_in_no_process_list(operator: Operator) -> None:
    guest(operator)
    with showing(operator, "vm1", INVOKE_DEBUG="1") as shown:
        secret = shown.password
        rfb.connect(shown.port, secret).close()
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                assert secret.encode() not in process.read_bytes(), process
        assert shown.end() == 0
    debugging = shown.errors.read_text()
    assert "paramiko" in debugging, "as with fab -d"
    assert secret not in debugging
    logs = operator.on("worker1", "sh", "-c", "cat /run/vmops/vm1/log/* /var/log/*.log 2>&1")
    assert secret not in logs


def test_every_time_the_password_is_another(operator: Operator, lab: Lab) -> None:
    vm = guest(operator)
    with showing(operator, "vm1") as first, showing(operator, "vm1") as second:
        assert first.password != second.password
        assert from_the_worker(lab, vm.vnc_port, first.password).startswith(REFUSED)
        assert from_the_worker(lab, vm.vnc_port, second.password) == "let in"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_closed_terminal_makes_the_password_void_too(
    operator: Operator, lab: Lab, number: signal.Signals
) -> None:
    vm = guest(operator)
    with showing(operator, "vm1") as shown:
        assert shown.end(number) == 0, shown.errors.read_text()
        assert from_the_worker(lab, vm.vnc_port, shown.password).startswith(REFUSED)


def test_an_operator_who_vanishes_leaves_a_password_that_expires(
    operator: Operator, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vmops.core.devices import display as vnc
    from vmops.core.tools import qmp
    from vmops.ops.guest.monitors import ask
    from vmops.ops.route import Route

    vm = guest(operator)
    worker = load(operator.hosts_toml).worker("worker1")
    answers = ask(Route(worker), ["vm1"], *vnc.lend("leftover", seconds=1))
    assert answers["vm1"] == [{}, {}]
    deadline = time.monotonic() + 10
    while from_the_worker(lab, vm.vnc_port, "leftover") == "let in":
        assert time.monotonic() < deadline
    assert ask(Route(worker), ["vm1"], qmp.STATUS)


def test_one_meaning_for_the_class_and_the_command_line(operator: Operator, lab: Lab) -> None:
    vm = guest(operator)
    operator.ok("stop", "--force", "--vm", "vm1")
    listed = load(operator.hosts_toml)
    launcher = VMLauncher(RemoteExecutor(inventory=listed), vnc_listen="127.0.0.1")
    address, wanted = operator.address("worker1"), listed.vms["vm1"].to_dict()
    assert launcher.vnc_password(address, wanted) == (False, None), "it does not run"
    ok, pid = launcher.launch_vm(address, wanted)
    assert ok
    assert operator.ok("status", "--format", "json").json[0]["drift"] == []
    assert operator.ok("launch", "--vm", "vm1", "--format", "json").json[0]["pid"] == int(pid or 0)
    assert from_the_worker(lab, vm.vnc_port).startswith(REFUSED)
    ok, password = launcher.vnc_password(address, wanted, seconds=20)
    assert ok
    assert password
    assert from_the_worker(lab, vm.vnc_port, password) == "let in"
    ok, other = launcher.vnc_password(address, wanted, seconds=1)
    assert from_the_worker(lab, vm.vnc_port, password).startswith(REFUSED)
    deadline = time.monotonic() + 10
    while from_the_worker(lab, vm.vnc_port, other or "") == "let in":
        assert time.monotonic() < deadline


def test_a_vm_as_documented_has_no_password_to_lend(operator: Operator, lab: Lab) -> None:
    vm = guest(operator)
    operator.ok("stop", "--force", "--vm", "vm1")
    launcher = VMLauncher(RemoteExecutor(inventory=load(operator.hosts_toml)))
    address = operator.address("worker1")
    assert launcher.launch_vm(address, vm.to_dict())[0]
    assert launcher.vnc_password(address, vm.to_dict()) == (True, "")
    assert from_the_worker(lab, vm.vnc_port) == "let in"


def test_without_a_port_nobody_on_the_worker_can_even_connect(operator: Operator, lab: Lab) -> None:
    vm = guest(operator, has_port=False)
    path = RunDirectory("vm1").vnc
    assert "590" not in operator.on("worker1", "ss", "-Hltn")
    knock = (
        "use Socket; socket(my $s, PF_UNIX, SOCK_STREAM, 0);"
        f" connect($s, pack_sockaddr_un('{path}')) or die $!; sysread $s, $_, 12; print"
    )
    for user in ("nobody", f"+{qemu_uid(99)}"):
        words = ["setpriv", f"--reuid={user}", "--clear-groups", "perl", "-e", knock]
        said = lab.run("worker1", words, check=False)
        assert said.returncode != 0
        assert b"Permission denied" in said.stderr
    assert operator.on("worker1", "stat", "-c", "%U %a", path).startswith("ubuntu ")
    with showing(operator, "vm1") as shown:
        with pytest.raises(rfb.Refused, match="Authentication failed"):
            rfb.connect(shown.port, "wrong")
        screen = rfb.connect(shown.port, shown.password)
        assert screen.size == (720, 400)
        screen.close()
        assert shown.end() == 0
    picture = operator.folder / "shot.png"
    operator.ok("screenshot", "--vm", "vm1", "--output", str(picture))
    assert picture.stat().st_size > 100
    (status,) = operator.ok("status", "--vm", "vm1", "--format", "json").json
    assert status["vnc"] == f"unix:{path}"
    assert status["drift"] == []
    assert " socket" in operator.ok("ps").out
    operator.vms = [(replace(vm, vnc_port=5907), "worker1")]
    operator.write()
    assert f"vnc_port: {path} -> 5907" in operator.fab("plan").out


def viewer(folder: Path, name: str, body: str) -> str:
    """A program of that name which notes how it was started; the PATH that finds it."""
    programs = folder / "programs"
    programs.mkdir()
    script = programs / name
    notes = (
        f"printf '%s\\n' \"$@\" >{folder}/argv; env >{folder}/environment; cat /proc/$PPID/cmdline"
    )
    script.write_text(f"#!/bin/sh\n{notes} >{folder}/parent\n{body}\n")
    script.chmod(0o755)
    return f"{programs}:{os.environ['PATH']}"


def test_the_command_ends_with_the_viewer(operator: Operator, lab: Lab) -> None:
    vm = guest(operator)
    path = viewer(operator.folder, "vncviewer", "exit 0")
    with showing(operator, "vm1", PATH=path, DISPLAY=":77") as shown:
        assert shown.wait() == 0
    argv = (operator.folder / "argv").read_text()
    assert argv == f"127.0.0.1::{shown.port}\n"
    assert f"VNC_PASSWORD={shown.password}\n" in (operator.folder / "environment").read_text()
    assert shown.password not in (operator.folder / "parent").read_text()
    assert from_the_worker(lab, vm.vnc_port, shown.password).startswith(REFUSED)


def test_a_viewer_that_wants_a_file_gets_a_private_one(operator: Operator) -> None:
    guest(operator)
    copy = f'cp "$1" {operator.folder}/file; stat -c %a "$1" "${{1%/*}}" >{operator.folder}/modes'
    path = viewer(operator.folder, "remote-viewer", copy)
    with showing(operator, "vm1", PATH=path, DISPLAY=":77") as shown:
        assert shown.wait() == 0
    (file,) = (operator.folder / "argv").read_text().splitlines()
    assert not Path(file).exists()
    assert (operator.folder / "modes").read_text() == "600\n700\n"
    assert f"password={shown.password}\n" in (operator.folder / "file").read_text()


def test_a_viewer_that_fails_is_said(operator: Operator) -> None:
    guest(operator)
    path = viewer(operator.folder, "vncviewer", "exit 3")
    with showing(operator, "vm1", PATH=path, DISPLAY=":77") as shown:
        assert shown.wait() == 1
    assert "the viewer ended with exit code 3" in shown.errors.read_text()


def test_the_viewer_ends_with_the_command(operator: Operator) -> None:
    guest(operator)
    path = viewer(operator.folder, "vncviewer", f"echo $$ >{operator.folder}/pid; exec sleep 300")
    with showing(operator, "vm1", PATH=path, DISPLAY=":77") as shown:
        pid = operator.folder / "pid"
        deadline = time.monotonic() + 10
        while not (pid.exists() and pid.read_text()):
            assert time.monotonic() < deadline
        assert shown.end() == 0
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


def test_vnc_listen_is_as_documented_and_warned_of(operator: Operator, lab: Lab) -> None:
    operator.extra = ""
    head = lab.inventory.read_text().partition("\n[vms.")[0]
    assert "vnc_listen" not in head
    vm = guest(operator)
    operator.ok("stop", "--force", "--vm", "vm1")
    text = operator.hosts_toml.read_text()
    operator.hosts_toml.write_text(text.replace("[defaults]", '[defaults]\nvnc_listen = "0.0.0.0"'))
    said = operator.ok("launch", "--vm", "vm1")
    assert "warning: vm1: anybody who reaches port" in said.err
    assert from_the_worker(lab, vm.vnc_port) == "let in"
    with showing(operator, "vm1") as shown:
        assert shown.said["password"] is None
        assert rfb.connect(shown.port).size == (720, 400)
        assert "its VNC has no password" in shown.errors.read_text()
        assert shown.end() == 0
    assert from_the_worker(lab, vm.vnc_port) == "let in"


def test_the_port_may_be_chosen_and_a_taken_one_is_said(operator: Operator) -> None:
    guest(operator)
    with showing(operator, "vm1") as first:
        said = operator.fab("vnc", "--vm", "vm1", "--port", str(first.port))
        assert said.code == 1
        assert f"port {first.port} of this machine cannot be used" in said.err
        assert "Traceback" not in said.err
        assert first.end() == 0
    with showing(operator, "vm1", "--port", str(first.port)) as again:
        assert again.port == first.port


def test_a_vm_that_dies_under_the_viewer_leaves_nothing_to_do(operator: Operator) -> None:
    guest(operator)
    with showing(operator, "vm1") as shown:
        screen = rfb.connect(shown.port, shown.password)
        kill(operator, operator.vms[0][0])
        with pytest.raises((rfb.Refused, OSError)):
            screen.picture()
        assert shown.wait() == 1
        assert "vm1 has crashed" in shown.errors.read_text()


def test_a_vm_that_is_stopped_ends_the_command_soon(operator: Operator) -> None:
    guest(operator)
    with showing(operator, "vm1") as shown:
        operator.ok("stop", "--vm", "vm1")
        began = time.monotonic()
        assert shown.wait() == 1
        assert time.monotonic() - began < 10
        assert "worker1: vm1 has stopped" in shown.errors.read_text()


def test_a_connection_that_was_lost_is_made_anew_for_the_next_viewer(
    operator: Operator, lab: Lab
) -> None:
    guest(operator)
    with showing(operator, "vm1") as shown:
        first = rfb.connect(shown.port, shown.password)
        lab.fault("worker1", "reset")
        with pytest.raises((rfb.Refused, OSError)):
            first.picture()
        lab.heal("worker1")
        assert rfb.connect(shown.port, shown.password).size == (720, 400)
        assert shown.end() == 0, shown.errors.read_text()


def test_a_worker_that_cannot_be_reached_any_more_ends_the_command(
    operator: Operator, lab: Lab
) -> None:
    guest(operator)
    with showing(operator, "vm1") as shown:
        lab.fault("worker1", "reset")
        try:
            assert shown.wait() == 3
        finally:
            lab.heal("worker1")
        assert "error: worker1: " in shown.errors.read_text()
