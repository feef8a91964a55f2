"""What is said before any task begins, by `vmops` and by `fab`: words that cannot be, and help."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import fabric.main
import pytest

from vmops.tasks import ns
from vmops.tasks import program as vmops_program
from vmops.tasks.typed import begin

PROGRAMS = ("vmops", "fab")
OURS = "from vmops.tasks import ns\n"
UNDER_A_NAME = """
from invoke import Collection, task
from vmops.tasks import ns as ours

@task
def own(c): print("own")

ns = Collection(own)
ns.add_collection(ours, "vm")
"""


class Said(NamedTuple):
    """How a command line ended: exit code and both streams."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a program in this process, in a folder without an inventory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VMOPS_HOSTS", raising=False)
    monkeypatch.setattr(begin, "leave_at_once", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)

    def run(program: str, *words: str, fabfile: str = OURS) -> Said:
        (tmp_path / "fabfile.py").write_text(fabfile)
        monkeypatch.delitem(sys.modules, "fabfile", raising=False)
        home = {"vmops": vmops_program, "fab": fabric.main}[program]
        again = copy.copy(home.program)
        monkeypatch.setattr(home, "program", again)
        with pytest.raises(SystemExit) as ended:
            again.run([program, *words])
        return Said(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(
            "stop --vm vm1 --timeout abc",
            "'abc' is not a number, and --timeout takes one",
            id="whole-number",
        ),
        pytest.param(
            "status --interval soon", "'soon' is not a number, and --interval", id="number"
        ),
        pytest.param("stop --vm 5 --timeout=abc", "and --timeout takes one", id="joined"),
        pytest.param("stop --vm 5 -tabc", "and --timeout takes one", id="letter"),
        pytest.param("stop --timeout a wait --timeout b", "and --timeout takes one", id="chain"),
        pytest.param("net.impair --vm a:b --delay-ms x", "and --delay-ms takes", id="two-words"),
        pytest.param("logs --lines x stop --timeout x", "'x' is not a number, and", id="not-sure"),
        pytest.param("ps --nonsense", "ps has no option --nonsense", id="unknown-option"),
        pytest.param("stop --forse", "did you mean --force?", id="misspelt-option"),
        pytest.param("stop --vm", "--vm needs a value", id="no-value"),
        pytest.param("lab.fault", "lab.fault lacks 'worker', 'kind'", id="no-argument"),
        pytest.param("-H worker1, ps", "no worker is named", id="comma-at-the-end"),
        pytest.param("-H @ ps", "no worker is named", id="user-alone"),
        pytest.param("-H worker1:ssh ps", "the port must be a number", id="port"),
        pytest.param("launch vm1", "  {} launch --vm vm1\n", id="a-vm-without-its-option"),
        pytest.param("statsu", "did you mean: {} status\n", id="misspelt-task"),
        pytest.param("ps lab.hael", "did you mean: {} lab.heal\n", id="misspelt-second-task"),
        pytest.param("--help statsu", "did you mean: {} --help status\n", id="help-misspelt"),
        pytest.param("--help nosuch", "there is no task 'nosuch'\n  {} --list", id="help-of-none"),
        pytest.param(
            "-h nosuch", "there is no task 'nosuch'\n  {} --list", id="short-help-of-none"
        ),
        pytest.param("start --vm vm1", "did you mean: {} launch\n", id="start"),
        pytest.param("list", "did you mean: {} ps\n", id="list"),
        pytest.param("delete", "did you mean: {} destroy\n", id="delete"),
        pytest.param("frobnicate", "{} --list shows all tasks\n", id="nothing-like-it"),
    ],
)
def test_words_that_cannot_be(program: str, words: str, said: str, run: Run) -> None:
    code, out, err = run(program, *words.split())
    assert (code, out, "Traceback" in err) == (2, "", False)
    assert err.startswith("error: ")
    assert said.format(program) in err


def test_vmops_is_as_strict_with_the_options_of_fab(run: Run) -> None:
    assert "'abc' is not a number" in run("vmops", *["-t", "abc", "ps"])[2]
    assert "--connect-timeout needs a value" in run("vmops", "-t")[2]


def test_a_folder_without_an_inventory_is_named(run: Run, tmp_path: Path) -> None:
    code, _, err = run("vmops", "ps")
    assert code == 2
    assert f"{tmp_path}/hosts.toml: there is no such file" in err


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("task", ["sendkey", "launch", "vnc"])
def test_h_is_help(program: str, task: str, run: Run) -> None:
    code, out, _ = run(program, task, "-h")
    assert (code, out.startswith(f"Usage: {program}")) == (0, True)
    assert "--vm=STRING" in out


@pytest.mark.parametrize("asks", ["--help", "-h"])
@pytest.mark.parametrize("task", sorted(ns.task_names))
def test_help_behind_any_task_is_that_tasks_help(task: str, asks: str, run: Run) -> None:
    code, out, err = run("fab", "-H", "worker1", task, asks)
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: fab [--core-opts] {task} [")


@pytest.mark.parametrize(
    ("words", "task"),
    [
        ("cp a.txt -h", "cp"),
        ("run --timeout 5 --help", "run"),
        ("run -t5 --help", "run"),
        ("script --timeout=5 --help x.sh", "script"),
        ("lab.fault worker1 --help", "lab.fault"),
        ("run id cp a --help", "cp"),
        ("launch --vm a run --help", "run"),
        ("vm.run --help", "vm.run"),
    ],
)
def test_help_in_the_place_of_an_argument(words: str, task: str, run: Run) -> None:
    fabfile = UNDER_A_NAME if task.startswith("vm.") else OURS
    code, out, err = run("fab", *words.split(), fabfile=fabfile)
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: fab [--core-opts] {task} ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run --dry id", "run: --dry stands where its command should\n  fab --dry run ..."),
        ("run -H worker1 id", "run: -H stands where its command should"),
        ("run --tiemout 5 id", "run has no option --tiemout\n  did you mean --timeout?"),
        ("cp --forse a b:/c", "cp has no option --forse"),
        ("lab.delay --wroker worker1", "lab.delay has no option --wroker"),
        ("script x.sh run --nope", "run has no option --nope"),
    ],
)
def test_an_option_is_not_taken_for_an_argument(words: str, said: str, run: Run) -> None:
    code, out, err = run("fab", *words.split())
    assert (code, out) == (2, "")
    assert said in err


def test_a_value_and_words_behind_two_dashes_are_data(run: Run) -> None:
    code, _, err = run("fab", "-H", "worker1", "run", "--command", "--help")
    assert (code, "hosts.toml: there is no such file" in err) == (2, True)
    code, _, err = run("fab", "exec", "--vm", "a", "--", "ls", "--help")
    assert (code, "hosts.toml: there is no such file" in err) == (2, True)


@pytest.mark.parametrize(
    ("fabfile", "words", "said"),
    [
        (OURS, "launch", "fab launch --vm NAME; fab launch --help\n"),
        (UNDER_A_NAME, "vm.launch", "fab vm.launch --vm NAME; fab vm.launch --help\n"),
        (UNDER_A_NAME, "launch", "did you mean: fab vm.launch\n"),
        (UNDER_A_NAME, "vm.launch vm1", "  fab vm.launch --vm vm1\n"),
        (OURS, "status --vm a.txt b.txt", "a glob stands in quotes: --vm '*'"),
        (UNDER_A_NAME, "vm.stop --vm ''", "error: --vm '': the value is empty"),
    ],
)
def test_a_cure_can_be_typed_where_our_tasks_have_other_names(
    fabfile: str, words: str, said: str, run: Run
) -> None:
    given = [word.replace("''", "") for word in words.split()]
    code, _, err = run("fab", *given, fabfile=fabfile)
    assert code == 2
    assert said in err


def test_a_cure_names_the_program_in_use(run: Run) -> None:
    assert "vmops launch --vm NAME" in run("vmops", "launch")[2]


def test_own_tasks_beside_ours_run_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fabfile.py").write_text(UNDER_A_NAME)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "fabfile", raising=False)
    before = signal.getsignal(signal.SIGINT)
    copy.copy(fabric.main.program).run(["fab", "own"])
    assert capsys.readouterr().out == "own\n"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("words", ["--list", "launch --help", ""])
@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_reader_that_leaves_is_no_news(words: str, buffered: str, tmp_path: Path) -> None:
    (tmp_path / "fabfile.py").write_text(OURS)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as nobody:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "fab"), *words.split()],
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": buffered},
            stdout=nobody,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert done.stderr == b""


def test_no_hosts_toml_leads_to_a_lab_and_no_lab_has_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import fabric
    from invoke.context import Context

    from vmops.errors import InventoryError
    from vmops.inventory_file import load
    from vmops.tasks import lab

    with pytest.raises(InventoryError) as refused:
        load(tmp_path / "hosts.toml")
    assert "fab lab.up" in refused.value.cure
    monkeypatch.setenv("VMOPS_LAB_DIR", str(tmp_path / "lab"))
    lab.down(Context(config=fabric.Config()))
    assert f"there is no lab in {tmp_path / 'lab'}" in capsys.readouterr().err


def test_python_m_vmops_is_vmops(tmp_path: Path) -> None:
    done = [
        subprocess.run(
            [*program, "launch", "--vm", ""],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for program in ([sys.executable, "-m", "vmops"], [Path(sys.executable).parent / "vmops"])
    ]
    assert [(one.returncode, one.stdout, one.stderr) for one in done] == 2 * [
        (2, "", "error: --vm '': the value is empty\n  give it a value\n")
    ]


@pytest.mark.parametrize(
    ("argv", "words", "left"),
    [
        (
            ["fab", "exec", "--vm", "a", "--", "sh", "-c", "a b", "--", "-x"],
            ("sh", "-c", "a b", "--", "-x"),
            "",
        ),
        (["fab", "run", "id", "--", "sh", "-c", "a b"], (), "sh -c a b"),
        (["fab", "exec", "--vm", "a"], (), ""),
    ],
)
def test_the_words_behind_two_dashes_are_taken_for_a_task_that_wants_them(
    argv: list[str], words: tuple[str, ...], left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from vmops.tasks import ns
    from vmops.tasks.typed import rest
    from vmops.tasks.typed.program import Program

    before = argv[1 : argv.index("--")] if "--" in argv else argv[1:]
    after = argv[argv.index("--") + 1 :] if "--" in argv else []
    core = SimpleNamespace(remainder=" ".join(after), unparsed=before)
    monkeypatch.setattr(rest, "_rest", [])
    rest.take(Program("fab", SimpleNamespace(argv=argv, core=core, collection=ns)))
    assert (rest.rest(), core.remainder) == (words, left)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "words", ["ps --help", "--help ps", "ps", "--list", "--complete -- fab ps"]
)
def test_only_the_tasks_that_are_named_are_asked_for_their_options(
    program: str, words: str, run: Run
) -> None:
    """To ask all of them and to copy what they say took longer than to parse the words."""
    run(program, *words.split())
    home = {"vmops": vmops_program, "fab": fabric.main}[program]
    found = home.program.parser.contexts
    assert not found["lab.up"].args
    assert bool(found["ps"].args) == ("ps" in words.split())
    assert ns["lab.up"].get_arguments(), "the program has its parser: all is as it was"
