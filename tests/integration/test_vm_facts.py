"""What a run directory says of its VM, whatever a QEMU that its guest rules has put there.

Each form costs that VM only, and neither time nor memory.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmops.core.facts.question import Answers, block_of
from vmops.core.facts.vms import RUNNING, RunningVM, seeds
from vmops.core.inventory.guest.told import Written
from vmops.core.inventory.model import VM
from vmops.core.script import functions, script
from vmops.core.script.command import Block, Step, StepResult, command

NONCE = "0123456789abcdef" * 2


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(functions, "RUN_ROOT", str(tmp_path))
    return tmp_path


def ask(shell: str = "dash") -> dict[str, RunningVM]:
    block = block_of((RUNNING,))
    text = script.render([block], nonce=NONCE)
    done = subprocess.run([shell, "-c", text], capture_output=True, timeout=30, check=True)
    (result,) = script.parse([block], nonce=NONCE, stdout=done.stdout, stderr=done.stderr)
    assert result.outcome == "done"
    return Answers(result)[RUNNING]


def holes(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(20 << 30)


def digits_and_holes(path: Path) -> None:
    path.write_text("123")
    with path.open("ab") as file:
        file.truncate(20 << 30)


def link_to_a_fifo(path: Path) -> None:
    os.mkfifo(path.parent / "f")
    path.symlink_to("f")


ODD: dict[str, Callable[[Path], object]] = {
    "5000 digits": lambda path: path.write_text("1" * 5000),
    "20 digits": lambda path: path.write_text("1" * 20),
    "words": lambda path: path.write_text("hello\n"),
    "two lines": lambda path: path.write_text("1\npid 1\n"),
    "a sign": lambda path: path.write_text("-1\n"),
    "holes": holes,
    "digits and holes": digits_and_holes,
    "a fifo": os.mkfifo,
    "a link": lambda path: path.symlink_to("/proc/self/stat"),
    "a link to a fifo": link_to_a_fifo,
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a directory": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("form", ODD)
def test_an_odd_pidfile_costs_its_own_vm_only(root: Path, form: str, shell: str) -> None:
    for vm in ("vm1", "vm2"):
        (root / vm).mkdir()
    ODD[form](root / "vm1" / "pid")
    (root / "vm2" / "pid").write_text(f"{os.getpid()}\n")
    began = time.monotonic()
    found = ask(shell)
    assert time.monotonic() - began < 3
    assert found["vm1"] == RunningVM("vm1", directory=True, odd=True)
    assert (found["vm1"].state, found["vm1"].powered_off) == ("unknown", False)
    assert found["vm2"] == RunningVM("vm2", directory=True, pid=os.getpid())


@pytest.fixture
def liar(root: Path) -> Iterator[Callable[..., int]]:
    """Starts a process with such a command line, and names it in the pidfile of vm1."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> int:
        program = "import time; print(flush=True); time.sleep(60)"
        argv = ["python3", "-c", program, *words]
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE))
        output = started[-1].stdout
        assert output is not None
        output.readline()
        (root / "vm1").mkdir()
        (root / "vm1" / "pid").write_text(f"{started[-1].pid}\n")
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", ["x\ny", "\n", ") Z 1\n2 (", "x\nName:\tvm"])
def test_no_name_that_a_process_gives_itself_hides_it(root: Path, name: str) -> None:
    """Else a second QEMU would be started beside it."""
    program = f"""if True:
        import ctypes, time
        ctypes.CDLL(None).prctl(15, {name.encode()!r}, 0, 0, 0)
        print(flush=True)
        time.sleep(60)
    """
    argv = ["python3", "-c", program, "-name", "vm1", "-pidfile", "/run/vmops/vm1/pid"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            (root / "vm1").mkdir()
            (root / "vm1" / "pid").write_text(f"{process.pid}\n")
            found = ask()["vm1"].process
            assert found is not None
            assert found.pid == process.pid
            started = [
                "sh",
                "-c",
                f"{functions.needed('start_of')}\nstart_of $1; echo $started",
                "sh",
            ]
            said = subprocess.run([*started, str(process.pid)], capture_output=True, check=True)
            assert int(said.stdout) == found.started
        finally:
            process.kill()


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_command_line_cannot_speak_for_another_vm(
    root: Path, liar: Callable[..., int], shell: str
) -> None:
    """Neither in the form that facts had once, nor in that of today's frames."""
    me = os.getpid()
    facts = f"directory\npid {me}\n" + Path("/proc/self/stat").read_text()
    old = ["x", "", f"vm=vm10\n{facts}"]
    frames = [f"@@{NONCE} p vm11\n{facts}@@{NONCE} e 0 0 0\n@@{NONCE} x 0 done\n"]
    pid = liar(*old, *frames)
    found = ask(shell)
    assert list(found) == ["vm1"]
    assert (found["vm1"].pid, found["vm1"].process) == (pid, None)


def test_no_more_of_a_command_line_is_read_than_one_of_ours_takes(
    root: Path, liar: Callable[..., int]
) -> None:
    """It may be as long as the kernel lets it: a megabyte and more."""
    (root / "vm2").mkdir()
    pid = liar(*["x" * 100_000] * 15)
    assert len(Path(f"/proc/{pid}/cmdline").read_bytes()) > 1_000_000
    block = block_of((RUNNING,))
    text = script.render([block], nonce=NONCE)
    done = subprocess.run(["dash", "-c", text], capture_output=True, timeout=30, check=True)
    assert len(done.stdout) < 100_000
    assert list(ask()) == ["vm1", "vm2"]


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize(
    ("record", "pidfile", "is_the_same"),
    [
        ("77 5000 1900000001\n", "77\n", True),
        ("77 5000 1900000001\n", "78\n", True),
        ("78 5000 1900000001\n", "77\n", True),
        (None, "77\n", True),
        ("77 5000 1900000001\n", None, True),
        ("78 5000 1900000001\n", "78\n", False),
        ("777 5000 1900000001\n", None, False),
        (None, "7\n", False),
        (None, None, False),
    ],
)
def test_what_another_qemu_has_left_is_told_apart(
    root: Path, record: str | None, pidfile: str | None, is_the_same: bool, shell: str
) -> None:
    """Else a stop that comes late would clean up what has crashed since."""
    (root / "vm1").mkdir()
    for name, text in (("process", record), ("pid", pidfile)):
        if text is not None:
            (root / "vm1" / name).write_text(text)
    script = f"RUN_ROOT={root}\n{functions.needed('same_remains')}\nsame_remains vm1 77"
    assert (subprocess.run([shell, "-c", script], check=False).returncode == 0) == is_the_same


SEED = "vmops-0123456789abcdef01234567"


def run(*words: str, stdin: bytes = b"") -> StepResult:
    """One command of a script, as a worker runs it."""
    block = Block("", (Step("it", (command(*words, stdin=stdin),), may_fail=True),))
    text = script.render([block], nonce=NONCE)
    done = subprocess.run(["sh", "-c", text], capture_output=True, timeout=30, check=True)
    (result,) = script.parse([block], nonce=NONCE, stdout=done.stdout, stderr=done.stderr)
    (step,) = result.steps
    return step


def test_a_seed_is_brought_told_and_given_back(root: Path, liar: Callable[..., int]) -> None:
    liar("-name", "vm1", "-pidfile", str(root / "vm1" / "pid"))
    group = str(os.getgid())
    cd = bytes(range(256)) * 100
    brought = run("bring_seed", "vm1", group, SEED, "seed, 1 byte", stdin=gzip.compress(cd))
    assert brought.ok, brought
    file = root / "vm1" / "seed.iso"
    assert file.read_bytes() == cd
    assert (file.stat().st_mode & 0o777, file.stat().st_gid) == (0o440, int(group))
    assert (root / "vm1" / "seed").stat().st_mode & 0o777 == 0o600
    vm = VM("vm1", vm_id=1, ram_mb=1, cores=1, vnc_port=5900, qcow_image="/x")
    wanted = vm.with_seed(Written(SEED, cd))
    for asked, given in ((vm, {"vm1": Written(SEED, cd)}), (wanted, {})):
        (question,) = (seeds([asked]),)
        assert question.read(run(*question.commands[0].words())) == given


@pytest.mark.parametrize(
    ("put", "told"),
    [
        (lambda path: path.write_text(f"{SEED}\n"), SEED),
        (lambda path: None, ""),
        (lambda path: path.write_text(SEED), ""),
        (lambda path: path.write_text(f"{SEED}\npid 1\n"), ""),
        (lambda path: path.write_text("vmops-x\n"), ""),
        (lambda path: path.symlink_to("/proc/self/stat"), ""),
        *((form, "") for form in ODD.values()),
    ],
)
def test_what_lies_in_the_place_of_the_instance_id_hides_no_vm(
    root: Path, liar: Callable[..., int], put: Callable[[Path], object], told: str
) -> None:
    pid = liar("-name", "vm1", "-pidfile", "/run/vmops/vm1/pid")
    uid = (root / "vm1").stat().st_uid
    os.chown(root / "vm1", uid, os.getuid())
    put(root / "vm1" / "seed")
    found = ask()["vm1"]
    assert (found.pid, found.seed) == (pid, told if found.process else "")
    assert found.process is not None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_an_instance_id_that_a_qemu_has_written_is_none(
    root: Path, liar: Callable[..., int]
) -> None:
    liar("-name", "vm1", "-pidfile", "/run/vmops/vm1/pid")
    (root / "vm1" / "seed").write_text(f"{SEED}\n")
    os.chown(root / "vm1" / "seed", 12345, -1)
    assert ask()["vm1"].seed == ""


@pytest.mark.parametrize("to", ["secret", "/dev/zero"])
def test_no_seed_is_read_behind_a_link(root: Path, to: str) -> None:
    """A VM that has none has nothing of root's by that name. Of /dev/zero there is no end."""
    (root / "secret").write_text("secret\n")
    (root / "vm1").mkdir()
    for name in ("seed", "seed.iso"):
        (root / "vm1" / name).symlink_to(root / to)
    vm = VM("vm1", vm_id=1, ram_mb=1, cores=1, vnc_port=5900, qcow_image="/x")
    question = seeds([vm])
    assert question.read(run(*question.commands[0].words())) == {}
