"""What is written down of a QEMU that has started, and what is ended when it is over, by real Perl.

Whatever stands in the run directory, another process is never taken for the VM's, and nothing of
it is given away before all of it is right.
"""

from __future__ import annotations

import getpass
import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmops.core.script import functions
from vmops.core.script.command import Block, Command, Step, StepResult, command
from vmops.core.tools import process
from vmops.wait import wait_for

from .test_script import SHELLS, run

UID = 1900001999
"""A VM's own, of which no VM of a test's is."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory as it is when QEMU has just started."""
    monkeypatch.setattr(functions, "RUN_ROOT", str(tmp_path))
    monkeypatch.setenv("VMOPS_USER", getpass.getuser())
    made = tmp_path / "vm1"
    (made / "log").mkdir(parents=True)
    made.chmod(0o711)
    (made / "log" / "qemu").touch()
    (made / "process").touch()
    return made


@pytest.fixture
def qemu(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with the words of this VM's QEMU, whose pidfile it is."""
    words = ["sh", "-c", "read line; exit", "x", str(folder / "pid")]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as found:
        (folder / "pid").write_text(f"{found.pid}\n")
        wait_for(
            lambda: b"read line" in Path(f"/proc/{found.pid}/cmdline").read_bytes() or None, 10
        )
        yield found
        found.kill()


def listen(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.bind(os.path.relpath(path))
    return found


def one(made: Command, shell: str = "dash") -> StepResult:
    (result,) = run(Block("vm1", (Step("do", (made,)),)), shell=shell)
    return result.steps[0]


def recorded(*sockets: str, uid: int | None = None, shell: str = "dash") -> StepResult:
    uid = os.getuid() if uid is None else uid
    return one(process.record("vm1", uid, log_bytes=65536, sockets=sockets), shell)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("shell", SHELLS)
def test_pid_start_and_user_are_written_down_and_the_directory_is_opened_last(
    folder: Path, qemu: subprocess.Popen[bytes], shell: str
) -> None:
    with listen(folder / "console.sock"), listen(folder / "vnc.sock"):
        said = recorded("console.sock", "vnc.sock", shell=shell)
    assert (said.exit_code, said.stdout, said.stderr) == (0, b"", b"")
    line = Path(f"/proc/{qemu.pid}/stat").read_text().rpartition(") ")[2].split()
    text = f"{qemu.pid} {line[19]} {os.getuid()}\n"
    assert (folder / "process").read_text() == text
    assert mode(folder) == 0o1771
    log = (folder / "log" / "qemu").stat()
    assert (log.st_size, log.st_blocks * 512 >= 65536) == (0, True)


def a_link(pidfile: Path) -> None:
    pidfile.rename(pidfile.parent / "elsewhere")
    pidfile.symlink_to("elsewhere")


def a_fifo(pidfile: Path) -> None:
    pidfile.unlink()
    os.mkfifo(pidfile)


def a_folder(pidfile: Path) -> None:
    pidfile.unlink()
    pidfile.mkdir()


ODD: dict[str, Callable[[Path], object]] = {
    "none": Path.unlink,
    "a link": a_link,
    "a FIFO": a_fifo,
    "a folder": a_folder,
    "empty": lambda path: path.write_text(""),
    "words": lambda path: path.write_text(f"{path.read_text()}x"),
    "too many digits": lambda path: path.write_text("12345678\n"),
    "another process": lambda path: path.write_text(f"{os.getpid()}\n"),
    "nobody": lambda path: path.write_text("4194304\n"),
}


@pytest.mark.parametrize("form", ODD)
def test_no_pidfile_leads_to_another_process_nor_holds_us_up(
    folder: Path, qemu: subprocess.Popen[bytes], form: str
) -> None:
    ODD[form](folder / "pid")
    refused(folder, recorded(), "QEMU ended as soon as it had started")


def refused(folder: Path, said: StepResult, why: str) -> None:
    assert (said.exit_code, said.stderr.decode().strip()) == (1, why)
    assert mode(folder) == 0o711


def test_a_process_of_another_user_is_not_the_vms(
    folder: Path, qemu: subprocess.Popen[bytes]
) -> None:
    refused(folder, recorded(uid=UID), "QEMU ended as soon as it had started")
    assert (folder / "process").read_text() == ""


def test_one_that_has_ended_and_that_nobody_has_waited_for_is_none(
    folder: Path, qemu: subprocess.Popen[bytes]
) -> None:
    qemu.kill()
    wait_for(lambda: ") Z " in Path(f"/proc/{qemu.pid}/stat").read_text() or None, 10)
    refused(folder, recorded(), "QEMU ended as soon as it had started")


@pytest.mark.parametrize("form", ["none", "a file", "a link"])
def test_what_is_no_socket_is_not_given_away(
    folder: Path, qemu: subprocess.Popen[bytes], form: str
) -> None:
    path = folder / "console.sock"
    with listen(folder / "qmp.sock"):
        if form == "a file":
            path.touch()
        elif form == "a link":
            path.symlink_to("qmp.sock")
        refused(folder, recorded("qmp.sock", "console.sock"), f"there is no socket {path}")


def left_behind(words: str, uid: int = UID) -> subprocess.Popen[bytes]:
    be = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
    found = subprocess.Popen([*be, "sh", "-c", words], stdout=subprocess.PIPE)
    assert found.stdout is not None
    assert found.stdout.readline() == b"here\n"
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="it becomes another user")
@pytest.mark.parametrize("shell", SHELLS)
def test_what_runs_as_the_user_of_a_vm_that_is_over_is_ended(folder: Path, shell: str) -> None:
    (folder / "process").write_text(f"1 1 {UID}\n")
    with left_behind("sleep 60 & echo here; wait") as left:
        assert one(command("end_left", "vm1"), shell).exit_code == 0
        assert left.wait(timeout=10) == -9
    assert one(command("remove_run_directory", "vm1"), shell).exit_code == 0
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="it becomes another user")
@pytest.mark.parametrize(
    ("uid", "others"),
    [
        pytest.param(UID, ["vm2"], id="another VM has the number too"),
        pytest.param(65534, [], id="it is no VM's own"),
    ],
)
def test_a_user_that_is_not_this_vms_alone_is_left_in_peace(
    folder: Path, uid: int, others: list[str]
) -> None:
    (folder / "process").write_text(f"1 1 {uid}\n")
    for other in (folder, *(folder.parent / name for name in others)):
        other.mkdir(exist_ok=True)
        os.chown(other, 0, uid)
    with left_behind("echo here; exec sleep 60", uid) as left:
        assert one(command("remove_run_directory", "vm1")).exit_code == 0
        assert left.poll() is None
        left.kill()
    assert not folder.exists()


def made(folder: Path, shell: str = "dash") -> StepResult:
    return one(command("make_run_directory", folder.name, str(UID), "64"), shell)


@pytest.fixture
def no_folder(folder: Path) -> Iterator[Path]:
    """Where there is no run directory yet; what is mounted there goes at the end."""
    found = folder.parent / "vm2"
    yield found
    subprocess.run(["umount", "-l", str(found / "log")], check=False, capture_output=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="it mounts")
@pytest.mark.parametrize("shell", SHELLS)
def test_a_run_directory_is_roots_and_its_logs_are_bounded(no_folder: Path, shell: str) -> None:
    said = made(no_folder, shell)
    assert (said.exit_code, said.stdout, said.stderr) == (0, b"", b"")
    found = no_folder.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o711, 0, UID)
    record = (no_folder / "process").stat()
    assert (record.st_size, stat.S_IMODE(record.st_mode), record.st_gid) == (0, 0o600, 0)
    log = no_folder / "log"
    (line,) = [x.split() for x in Path("/proc/mounts").read_text().splitlines() if str(log) in x]
    assert line[:3] == ["vmops", str(log), "tmpfs"]
    assert {"nosuid", "nodev", "noexec", "size=64k", "mode=700"} <= set(line[3].split(","))
    assert one(command("remove_run_directory", no_folder.name), shell).exit_code == 0
    assert not no_folder.exists()
    assert str(log) not in Path("/proc/mounts").read_text()


@pytest.mark.parametrize("form", ["a folder", "a file", "a link that leads nowhere"])
def test_what_is_there_already_is_not_used(no_folder: Path, form: str) -> None:
    if form == "a folder":
        no_folder.mkdir(0o700)
    elif form == "a file":
        no_folder.touch()
    else:
        no_folder.symlink_to("nowhere")
    said = made(no_folder)
    assert (said.exit_code, said.stderr) == (1, f"{no_folder}: File exists\n".encode())
    assert no_folder.is_symlink() or not (no_folder / "process").exists()
    assert not (no_folder.parent / "nowhere").exists()
