"""The options of all tasks: none may be empty, and each means one thing everywhere."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import fabric
import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from vmops.errors import InventoryError
from vmops.tasks import ns
from vmops.tasks.frame import options
from vmops.tasks.frame.options import Option, check
from vmops.tasks.frame.task import Task

TASKS = {name: ns[name] for name in sorted(ns.task_names)}


class Text(NamedTuple):
    """An option of a task that takes a text."""

    task: str
    option: str


def texts() -> list[Text]:
    found = []
    for name, task in TASKS.items():
        for option in task.get_arguments():
            if option.kind in (str, list):
                found.append(Text(name, option.attr_name or option.name))
    return found


def needed(task: Any) -> dict[str, str]:
    """A value for each parameter without a default."""
    parameters = list(inspect.signature(task.body).parameters.values())[1:]
    return {p.name: "x" for p in parameters if p.default is inspect.Parameter.empty}


def test_texts_were_found() -> None:
    assert {"vm", "worker", "format", "output", "until", "keys", "text"} <= {
        text.option for text in texts()
    }


@pytest.mark.parametrize("text", texts(), ids="-".join)
def test_an_empty_text_is_a_mistake(
    text: Text, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the inventory is read, so nothing can have been contacted."""
    monkeypatch.setenv("VMOPS_HOSTS", "/there/is/none")
    task = TASKS[text.task]
    value = [""] if text.option in task.iterable else ""
    with pytest.raises(Exit) as ended:
        task(Context(config=fabric.Config()), **needed(task) | {text.option: value})
    assert ended.value.code == 2
    dashed = text.option.rstrip("_").replace("_", "-")
    assert capsys.readouterr().err.startswith(f"error: --{dashed} '': the value is empty")


INVENTORY = """
[defaults]
user = "ubuntu"
[workers.w1]
address = "127.0.0.1"
port = 1
[vm_defaults]
ram_mb = 64
cores = 1
worker = "w1"
qcow_image = "{name}.qcow2"
interfaces = [{ name = "eth0", vlan_id = 101 }]
[vms.a]
vnc_port = 5901
[vms.b]
vnc_port = 5902
"""
VALUES = {"vms": "a", "workers": "w1", "interfaces": "a:eth0", "ends": "a:eth0", "": "x"}
LACKING = re.compile(r"error: \S+: .*\?$|no key to press|nothing to type")
"""How a task says that it has to be told more."""

REFUSED = [
    (name, option)
    for name, task in TASKS.items()
    for option, found in task.options.items()
    if found.required and option not in needed(task)
]


def complaint(name: str, without: str | None, tmp_path: Path) -> str:
    """What `--dry` says to all that the task requires, but for one option; with `None`, to all."""
    (tmp_path / "hosts.toml").write_text(INVENTORY)
    task = TASKS[name]
    given = {
        option: task.choices.get(option, [VALUES[found.names]])[0]
        for option, found in task.options.items()
        if found.required and option != without
    }
    err = io.StringIO()
    dry = Context(config=fabric.Config(overrides={"run": {"dry": True}}))
    with contextlib.redirect_stderr(err), contextlib.suppress(Exit):
        task(dry, **given)
    return err.getvalue().partition("\n")[0]


@pytest.mark.parametrize(("name", "option"), REFUSED)
def test_what_cannot_be_left_out_is_not_told_to_be(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMOPS_HOSTS", str(tmp_path / "hosts.toml"))
    with pytest.raises(InventoryError) as refused:
        check(TASKS[name].options, {option: ""})
    assert refused.value.cure == "give it a value"
    if option != "worker" or name in ("drain", "undrain"):
        assert LACKING.search(complaint(name, option, tmp_path))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in TASKS
        if not name.startswith(("lab.", "exec", "net.impair", "image", "from-"))
    ],
)
def test_no_option_is_required_that_is_not_said_to_be(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMOPS_HOSTS", str(tmp_path / "hosts.toml"))
    said = complaint(name, None, tmp_path)
    assert not LACKING.search(said), said


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_task_is_framed(task: Any) -> None:
    assert isinstance(task, Task)
    annotations = inspect.get_annotations(inspect.unwrap(task.body))
    first = next(iter(annotations.values()))
    assert first == "Context"


@pytest.mark.parametrize("name", TASKS)
def test_a_number_that_is_not_given_is_said(name: str) -> None:
    for argument in TASKS[name].get_arguments():
        if argument.kind in (int, float) and argument.default:
            assert f"default {argument.default:g}" in argument.help.lower(), argument.name


def test_a_letter_means_one_thing() -> None:
    meanings: dict[str, set[str]] = defaultdict(set)
    for task in TASKS.values():
        for option in task.get_arguments():
            for letter in (name for name in option.names if len(name) == 1):
                meanings[letter].add(option.name)
    assert meanings
    assert {letter: names for letter, names in meanings.items() if len(names) > 1} == {}
    assert "h" not in meanings, "-h is help"
    assert len(set(options.LETTERS.values())) == len(options.LETTERS)


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        (options.TIMEOUT, -1, "--it -1: must be 0 seconds or more"),
        (options.INTERVAL, 0, "--it 0: must be more than 0 seconds"),
        (options.FORMAT, "yaml", "--it 'yaml': must be one of text, json"),
        (Option("", options.between(1, 9, "ms")), 10, "--it 10: must be 1 to 9 ms"),
        (Option(""), "", "--it '': the value is empty"),
        (Option(""), ["a", ""], "--it '': the value is empty"),
    ],
)
def test_a_rule_is_told(option: Option, value: object, rule: str) -> None:
    with pytest.raises(InventoryError) as told:
        check({"it": option}, {"it": value})
    assert told.value.what == rule


def test_what_is_not_given_breaks_no_rule() -> None:
    check({"format": options.FORMAT}, {"format": None})


class Senseless(NamedTuple):
    """Options of a task that mean nothing together, or one without another, as they are typed."""

    task: str
    given: tuple[str, ...]


def senseless() -> list[Senseless]:
    found = []
    for name, task in TASKS.items():
        for option, meant in task.options.items():
            needs = (meant.only_with,) if meant.only_with else ()
            clashes = [other for other in meant.not_with if other in task.options]
            found += [Senseless(name, (option, other, *needs)) for other in clashes]
            found += [Senseless(name, (option,))] * bool(meant.only_with)
    return found


def test_what_means_nothing_together_was_found() -> None:
    assert {
        ("migrate", ("downtime_ms", "cold")),
        ("migrate", ("force",)),
        ("undrain", ("stay", "direct")),
        ("status", ("interval",)),
        ("graph", ("port",)),
    } <= set(senseless())
    for task in TASKS.values():
        needed = {meant.only_with for meant in task.options.values()} - {""}
        assert needed <= set(task.options)


def test_a_time_limit_beside_force_is_a_limit_that_is_kept() -> None:
    """Scripts have it; `--force` takes less than any."""
    assert ("stop", ("timeout", "force")) not in set(senseless())


@pytest.mark.parametrize("case", senseless(), ids=lambda case: "-".join((case.task, *case.given)))
def test_what_would_be_ignored_is_refused(
    case: Senseless, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the inventory is read, so nothing can have been contacted."""
    monkeypatch.setenv("VMOPS_HOSTS", "/there/is/none")
    task = TASKS[case.task]
    kinds = {option.attr_name or option.name: option.kind for option in task.get_arguments()}
    values = {name: {bool: True, str: "x"}.get(kinds[name], 7) for name in case.given}
    with pytest.raises(Exit) as ended:
        task(Context(config=fabric.Config()), **needed(task), **values)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"--{options.as_option(case.given[0])} " in said
    assert "means nothing without" in said or "leave one out" in said


def test_typing_standard_input_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(Exit) as ended:
        TASKS["type"](Context(config=fabric.Config()), vm="vm1", text="-")
    assert ended.value.code == 2
    assert "nothing to type" in capsys.readouterr().err
