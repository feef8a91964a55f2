"""The judgement of image chains; tests/integration has what real files and headers give."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.tools import image_chain
from vmops.core.tools.image_chain import Image

GOOD = Image("/i/web.qcow2", "qcow2", "qcow2", mode=0o100600)


def judged(*chain: Image) -> list[str]:
    return [entry.what for entry in image_chain.objections(chain, user="ubuntu")]


def test_nothing_is_said_against_a_plain_image() -> None:
    assert judged(GOOD) == []
    assert (
        judged(GOOD._replace(backing="b"), GOOD._replace(path="/i/b", format="raw", looks="other"))
        == []
    )


def test_all_that_is_wrong_comes_at_once_and_names_each_image() -> None:
    base = GOOD._replace(path="/i/base.qcow2", data_file="/etc/passwd", encrypted=True)
    what = judged(GOOD._replace(backing="base.qcow2", mode=0o100666), base)
    subject = "/i/base.qcow2, the backing file of /i/web.qcow2,"
    assert what == [
        "/i/web.qcow2 may be written by every user of the worker",
        f"{subject} keeps its data in another file, /etc/passwd",
        f"{subject} is encrypted, and QEMU is given no secret",
    ]


def test_every_objection_says_what_to_do() -> None:
    kinds = ["stat", "open", "odd", "swapped", "loop", "deep", "header"]
    for fault in kinds:
        (objection,) = image_chain.objections((GOOD._replace(fault=fault),), user="ubuntu")
        assert objection.cure


def test_a_data_file_is_refused_by_its_bit_and_by_its_name_alone() -> None:
    """A name without the bit is not opened; whoever wrote it may write the bit as well."""
    assert judged(GOOD._replace(features=4)) != []
    assert judged(GOOD._replace(data_file="")) != []


def test_a_corrupt_image_may_be_read_and_not_be_written() -> None:
    corrupt = GOOD._replace(features=2)
    assert judged(corrupt) != []
    assert judged(GOOD, corrupt) == []


def test_names_from_a_header_reach_no_terminal_raw() -> None:
    evil = GOOD._replace(backing="nbd:\x1b]0;x\x07", data_file="\x1b[2J")
    assert not any("\x1b" in line or "\x07" in line for line in judged(evil))


@pytest.mark.parametrize(
    "answer",
    ["", "name 41", "as qcow2", "name zz as 00", "name 41 as", "x" * 5000, "name 41 as 00\n" * 66],
)
def test_what_is_no_answer_is_not_taken_for_one(answer: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        image_chain.parse(f"{answer}\n\n")


def test_an_answer_that_is_cut_short_is_not_a_chain() -> None:
    """Each chain ends with an empty line."""
    with pytest.raises(ValueError, match="chains"):
        image_chain.parse("name 41 as 00")


def test_holders_belong_to_the_image_that_is_held() -> None:
    answer = "name 41 as 00 id 8:1 held 101\n\nname 42 as 00 id 8:2\n\n7 8:1\n9 8:1\n9 8:2\n"
    (first,), (second,) = image_chain.parse_several(answer)
    assert (first.holders, second.holders) == ((7, 9), ())
    assert image_chain.uses((first,))[0].what.endswith("is written to by PID 7, 9")
    assert image_chain.in_use(image_chain.without_holder((first,), 7)) == (first,)


@given(st.text(max_size=200))
def test_any_answer_is_read_or_refused(answer: str) -> None:
    with suppress(ValueError):
        image_chain.objections(image_chain.parse(f"{answer}\n\n"), user="ubuntu")


def test_holders_are_numbers() -> None:
    assert image_chain.parse_holders("12\n7\n") == (12, 7)
    assert image_chain.parse_holders("") == ()
    with pytest.raises(ValueError, match="invalid literal"):
        image_chain.parse_holders("sudo: no")
