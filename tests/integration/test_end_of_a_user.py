"""The end of all that runs as a VM's user, however fast it begets more, by a real kernel.

In PIDs of its own: what escapes ends with the test, and what has ended is waited for there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vmops.core.script import functions, script
from vmops.core.script.command import Block, Step, command

from .test_script import NONCE

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it becomes another user")

UID = 1900001998
"""A VM's own, of which no VM of a test's is."""
STRANGER = 1900001997
NOBODYS = UID + 70000
"""What the sender of the signal is besides."""

FIRST = r"""
import os, subprocess, sys, time

script, nobodys, *words = sys.argv[1:]

def of(uid):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            lines = open(f"/proc/{pid}/status").read().splitlines()
        except OSError:
            continue
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        if uid in fields["Uid"].split() and fields["State"][0] not in "ZX":
            found.append(pid)
    return found

def begin(uid, words):
    be = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]
    started = subprocess.Popen([*be, "perl", "-e", words], stdout=subprocess.PIPE)
    assert started.stdout.read(1) == b"x", uid
    return started

kept = [begin(*pair.split(":", 1)) for pair in words]
ours = os.fork()
if not ours:
    os.dup2(2, 1)
    os.execvp("dash", ["dash", "-c", script])
while os.wait()[0] != ours:
    pass
uids = [*(pair.split(":", 1)[0] for pair in words), nobodys]
print(*(max(len(of(uid)) for _ in range(9)) for uid in uids))
"""
"""The first process there: it starts programs as users, has the script run, and waits for all that
end meanwhile. Then it counts whom there is of each user, in the best of some looks."""

STAYS = 'syswrite STDOUT, "x"; sleep 300'
CHAINS = """
for (1 .. 150) { last if !fork }
syswrite STDOUT, "x";
while (1) { my $next = fork // next; exit if $next }
"""
"""Many at once, each of a process that starts the next one and ends. To look for them in /proc, and
kill those that were found, takes half a minute and more."""
HUNTS = """
syswrite STDOUT, "x";
for (my $pid = 2; ; $pid = $pid % 400 + 1) { kill 9, $pid if $pid != $$ }
"""
"""Kills whatever it may, and what is about to kill it above all."""


@pytest.fixture
def clearing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The script that ends what a VM's QEMU has left."""
    monkeypatch.setattr(functions, "RUN_ROOT", str(tmp_path))
    (tmp_path / "vm1").mkdir()
    (tmp_path / "vm1" / "process").write_text(f"1 1 {UID}\n")
    return script.render((Block("vm1", (Step("do", (command("end_left", "vm1"),)),)),), nonce=NONCE)


def left(clearing: str, *words: tuple[int, str]) -> list[int]:
    """How many of each user there are afterwards, and of the one that is nobody's."""
    apart = ("unshare", "--pid", "--mount-proc", "--fork", "--kill-child=KILL", "--")
    begun = [f"{uid}:{program}" for uid, program in words]
    done = subprocess.run(
        [*apart, sys.executable, "-c", FIRST, clearing, str(NOBODYS), *begun],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("program", [STAYS, CHAINS, HUNTS], ids=["stays", "chains", "hunts"])
def test_none_is_left_however_fast_they_beget_more(clearing: str, program: str) -> None:
    assert left(clearing, (UID, program), (STRANGER, STAYS)) == [0, 1, 0]


def test_where_the_senders_other_id_is_somebodys_he_is_left_alone(clearing: str) -> None:
    """The processes are looked for one by one then."""
    assert left(clearing, (UID, STAYS), (NOBODYS, STAYS)) == [0, 1, 1]
