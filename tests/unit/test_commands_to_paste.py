"""Commands that people are told to paste: what a guest, a worker or hosts.toml has written is one
word of them, whatever is in it."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.inventory.complaints import printable, typed
from vmops.core.tools import image_chain
from vmops.core.tools.image_chain import Image

HOSTILE = (
    "/root/$(touch /tmp/pwn);x",
    "/a b",
    "/`reboot`",
    "/it's; reboot",
    '/"|reboot"',
    "/x\nreboot",
    "/*",
    "/~/x & reboot #",
)


@given(st.lists(st.text(), min_size=1))
def test_each_word_comes_back_as_one(words: list[str]) -> None:
    assert shlex.split(typed(*words)) == [printable(word) for word in words]


@pytest.mark.parametrize("word", [*HOSTILE, "", "-x", "~root", "a~/b"])
def test_a_shell_takes_it_for_one_word(word: str) -> None:
    words = ["sh", "-c", f"printf '<%s>' {typed(word, '~/' + word)}"]
    env = {"HOME": "/h", "PATH": "/bin:/usr/bin"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True, env=env)
    assert done.stdout == f"<{printable(word)}></h/{printable(word)}>"


def chains(name: str) -> Iterator[tuple[Image, ...]]:
    """All that can be said against an image of that name, or one that stands on such a one."""
    good = Image(name, "qcow2", "qcow2", mode=0o100600, owner=1000)
    bad = [
        *(
            good._replace(fault=f, why="no")
            for f in ("stat", "open", "odd", "swapped", "loop", "deep", "header")
        ),
        good._replace(closed=True),
        good._replace(mode=0o100666),
        *(good._replace(loose=name, loose_by=by) for by in ("all", "owner", "group", "proc")),
        good._replace(data_file=name),
        good._replace(encrypted=True),
        good._replace(features=2),
        good._replace(looks="other"),
        good._replace(format="raw"),
        good._replace(format="", looks="other"),
        good._replace(format="vmdk"),
        good._replace(backing=f"nbd:{name}"),
    ]
    for image in bad:
        yield (image,)
        yield (good._replace(backing=name), image)
    yield (good._replace(path=f"{name}/vm_images/.vmops/disk-web1-root.qcow2", backing=name),)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_of_an_image_is_more_than_a_word_of_a_cure(name: str) -> None:
    told = 0
    for chain in chains(name):
        for _, cure in image_chain.objections(chain, user="ubuntu"):
            rest = cure
            for each in (*(image.path for image in chain), name):
                told += typed(each) in rest
                rest = rest.replace(typed(each), "")
            assert printable(name) not in rest
    assert told > 15


def test_nothing_that_a_header_names_is_to_be_given_away() -> None:
    top = Image("/i/web.qcow2", "qcow2", "qcow2", mode=0o100600, owner=1000, backing="/etc/shadow")
    for mode, owner in ((0o100640, 0), (0o100600, 1001), (0o060660, 0)):
        base = Image("/etc/shadow", "raw", mode=mode, owner=owner, fault="open", why="no")
        (objection,) = image_chain.objections((top, base), user="ubuntu")
        assert objection.cure == "look: sudo ls -lL /etc/shadow"


@pytest.mark.parametrize(
    ("path", "mode", "owner", "is_given"),
    [
        ("/home/ubuntu/vm_images/a.qcow2", 0o100600, 0, True),
        ("/home/ubuntu/a.qcow2", 0o100600, 0, True),
        ("/srv/a.qcow2", 0o100600, 1001, True),
        ("/home/ubuntu/../../etc/shadow", 0o100640, 0, False),
        ("/etc/shadow", 0o100640, 0, False),
        ("/dev/vda", 0o060660, 0, False),
        ("/dev/vda", 0o060660, 1001, False),
    ],
)
def test_an_image_is_to_be_given_away_and_nothing_of_roots(
    path: str, mode: int, owner: int, is_given: bool
) -> None:
    image = Image(path, "qcow2", mode=mode, owner=owner, fault="open", why="no")
    (objection,) = image_chain.objections((image,), user="ubuntu")
    assert ("chown" in objection.cure) is is_given


PACKAGE = Path(__file__).parents[2] / "vmops"

PROGRAM = re.compile(
    r"\b(?:sudo|chmod|chown|ssh -\w|ssh-keyscan|ssh-keygen|ssh-copy-id|qemu-img|ls -\w+|df|mkdir|"
    r"rm|mount|touch|kill|fuser|pgrep|rebase)\b[^;,\0]*\0"
)

HARMLESS = {
    # Names with a rule of ours: letters, digits, "-", "_" and ".".
    "vm",
    "bridge",
    "worker.bridge",
    "OVN_BRIDGE",
    "one.port",
    "nic.tap",
    "mark.peer",
    "RunDirectory(vm).lock",
    "RunDirectory(vm).path",
    "pidfile",
    "FOLDER",
    "WHERE",
    "shared.sign_of(wanted)",
    "sign",
    "sign.rpartition('/')[0]",
    # Made of words by `typed`.
    "self._by_hand()",
    # Packages, of a table.
    "cure",
    # Numbers.
    "LIMIT_S",
    "pid",
    "port",
    "vm.vnc_port",
    "process_.pid",
}
"""What may stand in a command as it is, by its expression."""

OTHERS = {"core/script/words.py", "core/tools/ip.py", "tasks/lab.py", "tasks/vm/from_libvirt.py"}
"""What shows whole scripts, or the lab's own files."""


def by_hand(path: Path) -> Iterator[str]:
    """The values that a module puts into a command as they are."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.JoinedStr):
            continue
        text = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                text += str(part.value)
                continue
            assert isinstance(part, ast.FormattedValue)
            value = ast.unparse(part.value)
            is_word = isinstance(part.value, ast.Call) and ast.unparse(part.value.func) == "typed"
            if PROGRAM.search(text + "\0") and not is_word:
                yield value
            text += "-"


@pytest.mark.parametrize(
    "path",
    sorted(
        name
        for path in PACKAGE.rglob("*.py")
        if not {"export", "lab"} & set(path.parts)
        and (name := str(path.relative_to(PACKAGE))) not in OTHERS
    ),
)
def test_no_module_puts_a_value_into_a_command_by_hand(path: str) -> None:
    assert set(by_hand(PACKAGE / path)) <= HARMLESS
