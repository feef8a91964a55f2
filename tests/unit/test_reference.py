"""What of docs/ is made from the code says what the code says today."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from tests.reference import GLOSSARY, REFERENCE, ROOT, glossary_page, tasks_page, words
from vmops.core.plan.network.serving import Action as OfNetwork
from vmops.core.plan.phase import Action
from vmops.ops.vm.changes import Change
from vmops.tasks import ns
from vmops.tasks.frame.options import as_option

CURE = "it is out of date: run scripts/reference"


def test_the_reference_of_tasks_is_current() -> None:
    assert REFERENCE.read_text() == tasks_page(), CURE


def test_the_reference_has_every_task_and_option() -> None:
    text = REFERENCE.read_text()
    for name in ns.task_names:
        _, found, rest = text.partition(f"### `{name}`\n")
        assert found, name
        entry = rest.partition("\n### ")[0]
        assert f"    fab {'-H' if name in ('launch', 'ps') else ''}".rstrip() in entry
        for argument in ns[name].get_arguments():
            option = as_option(argument.name)
            shown = option.upper() if argument.positional else rf"--(\[no-\])?{option}"
            assert re.search(rf"`{shown}[ `]", entry), (name, option)


def test_the_glossary_has_every_public_class() -> None:
    assert GLOSSARY.read_text() == glossary_page(), CURE


def test_every_public_class_says_what_it_is() -> None:
    found = words()
    assert len(found) > 150
    for word in found:
        assert len(word.meaning) > 10, word
        assert f"| `{word.name}` | {word.meaning} |" in GLOSSARY.read_text()


OF_VMS = [action for action in get_args(Action) if Change("vm1", "worker1", action).to_do]


@pytest.mark.parametrize("action", [*OF_VMS, *get_args(OfNetwork), "refused", "unknown"])
def test_the_table_of_plan_has_every_action(action: str) -> None:
    assert f"| `{action}` |" in (ROOT / "docs" / "fleet.md").read_text()
