"""The shell files: without a path or limit of their own, and brought along where needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vmops.core.names import RUN_ROOT
from vmops.core.script import functions, script
from vmops.core.script.command import Block, Step, command

FOLDER = Path(functions.__file__).with_name("shell")
FILES = sorted(FOLDER.glob("*.sh"))
NAMES = sorted(functions.names())


BEFORE = {
    "arrival.pl": ("number.pl",),
    "receive.pl": ("number.pl", "arrival.pl"),
    "fetch.pl": ("number.pl", "arrival.pl"),
    "beside.pl": ("number.pl", "arrival.pl", "once.pl", "sshd.pl"),
    "sshd.pl": ("once.pl",),
    "ssh.pl": ("once.pl",),
    "give.pl": ("once.pl", "ssh.pl"),
    "let_in.pl": ("once.pl", "sshd.pl"),
    "lead.pl": ("once.pl", "ssh.pl"),
    "capture.pl": ("attend.pl",),
    "door.pl": ("attend.pl",),
}
"""What stands before a program that is not one by itself."""


@pytest.mark.skipif(shutil.which("perl") is None, reason="there is no perl")
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.pl")), ids=lambda path: path.name)
def test_a_program_is_perl_without_warnings_and_travels_without_comments(path: Path) -> None:
    text = functions.program(*BEFORE.get(path.name, ()), path.name)
    words = ["perl", "-wc"]
    done = subprocess.run(words, input=text.encode(), capture_output=True, timeout=30, check=False)
    assert done.stderr == b"- syntax OK\n"
    assert not [line for line in text.split("\n") if line.lstrip().startswith("#")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_paths_and_limits_come_from_one_place(path: Path) -> None:
    code = [line for line in path.read_text().split("\n") if not line.startswith("#")]
    assert not [line for line in code if RUN_ROOT in line or "--timeout=10" in line]
    said = [line for line in path.read_text().split("\n") if line.startswith("#:")]
    assert not [line for line in said if RUN_ROOT in line]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_holds_functions_and_comments_only(path: Path) -> None:
    """What else stood there would not travel."""
    outside, inside = [], False
    for line in path.read_text().split("\n"):
        if re.match(r"\w+\(\) \{", line):
            inside = True
        elif line == "}":
            inside = False
        elif not inside and line and not line.startswith("#"):
            outside.append(line)
    assert outside == []


@pytest.mark.parametrize("name", NAMES)
def test_comments_do_not_travel_and_the_words_of_a_dry_run_name_real_arguments(name: str) -> None:
    found = functions.function(name)
    assert not [line for line in found.text.split("\n") if line.lstrip().startswith("#")]
    for place in re.findall(r"\{(.*?)\}", found.words):
        assert re.fullmatch(r"\d+(\.\.\.|:|\*)?", place)
    assert "$" not in functions.words_of(name).replace("$SUDO_USER", "")


def test_what_a_plan_calls_has_words_for_a_dry_run() -> None:
    """`sudo NAME` of a function of ours could be typed nowhere."""
    sources = Path(functions.__file__).parents[2].rglob("*.py")
    used = {
        name
        for path in sources
        for name in re.findall(r'\b[cC]ommand\(\s*\(?\s*"(\w+)"', path.read_text())
    }
    called = used & set(NAMES)
    assert len(called) > 30
    assert sorted(name for name in called if not functions.words_of(name)) == []


def test_a_function_brings_along_what_it_calls_and_no_more() -> None:
    text = functions.needed("end_process 1 2 KILL 3")
    there = set(re.findall(r"^(\w+)\(\) \{", text, re.MULTILINE))
    looks = {"still_running", "running", "recorded", "pid_of", "is_qemu_of", "has_user"}
    waits = {"still", "start_of", "await_end"}
    assert there == {"end_process", "note_end"} | looks | waits
    assert functions.needed("nothing of ours") == ""


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("name", NAMES)
def test_the_text_that_travels_is_a_whole_function(name: str, shell: str) -> None:
    text = functions.function(name).text
    subprocess.run([shell, "-n"], input=text.encode(), timeout=30, check=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("vsctl", "--", "add-port", "br 0", "p"),
            "sudo ovs-vsctl --timeout=10 -- add-port 'br 0' p",
        ),
        (("where_vms", "cat", "/proc/net/dev"), "# where there is a VM:\nsudo cat /proc/net/dev"),
        (("where_vms", "listening_facts"), "# where there is a VM:\nsudo ss -Hltn"),
        (("start_qemu", "vm1", "60", "5:5", "qemu", "-m", "1 2"), "sudo qemu -m '1 2' -runas 5:5"),
        (("raise_taps", "t1", "t 2"), "sudo ip link set dev t1 up\nsudo ip link set dev 't 2' up"),
        (("report_process", "vm1"), "sudo cat /run/vmops/vm1/pid"),
        (("load_rules", "blue"), "sudo nsenter --net=/run/netns/vmops-blue nft -f -"),
        (("print_log", "vm1", "{0}"), "sudo cat /run/vmops/vm1/log/{0}"),
        (("echo", "a b"), "sudo echo 'a b'"),
    ],
)
def test_words_of_a_dry_run(words: tuple[str, ...], said: str) -> None:
    block = Block("vm1", (Step("do", (command(*words),)),))
    assert script.shown([block]) == f"# vm1: do\n{said}"


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b"a\nb\n", "sudo cat <<'.'\na\nb\n."),
        (b"a", "sudo cat  # with 1 bytes of input"),
        (b"\0\n", "sudo cat  # with 2 bytes of input"),
        (b"\xff\n", "sudo cat  # with 2 bytes of input"),
        (b"", "sudo cat"),
    ],
)
def test_input_in_the_words_of_a_dry_run(stdin: bytes, said: str) -> None:
    block = Block("vm1", (Step("do", (command("cat", stdin=stdin),)),))
    assert script.shown([block]) == f"# vm1: do\n{said}"


def test_input_of_a_function_that_reads_it() -> None:
    block = Block("blue", (Step("do", (command("load_node_rules", stdin=b"table t\n"),)),))
    assert script.shown([block]) == "# blue: do\nsudo nft -f - <<'.'\ntable t\n."


def test_the_package_brings_every_file_of_the_folder() -> None:
    project = (FOLDER.parents[3] / "pyproject.toml").read_text()
    assert '"core/script/shell/*"' in project
    assert [path.name for path in FOLDER.iterdir() if path.is_dir()] == []


def test_the_files_are_read_once_however_many_threads_write_scripts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, ready = [], threading.Barrier(8)
    usual = Path.read_text

    def counted(path: Path, *args: str, **more: str) -> str:
        read.append(path.name)
        return usual(path, *args, **more)

    def write() -> str:
        ready.wait(timeout=30)
        return functions.needed("vm_facts")

    functions._read.cache_clear()
    functions.function.cache_clear()
    functions.without_comments.cache_clear()
    monkeypatch.setattr(Path, "read_text", counted)
    with ThreadPoolExecutor(8) as pool:
        texts = {one.result() for one in [pool.submit(write) for _ in range(8)]}
    assert len(texts) == 1
    assert sorted(read) == sorted(set(read)), "none twice"
    assert set(read) >= {path.name for path in FILES}
