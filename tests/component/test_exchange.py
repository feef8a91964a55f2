from __future__ import annotations

import os
import random
import re
import shlex
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fabric
import pytest

from vmops.core.script.render import PRIVATE
from vmops.errors import CommandTimeout, ConnectionLost, WorkFailed
from vmops.remote.counters import counted
from vmops.remote.exchange import SHELLS, Reply, exchange
from vmops.remote.ssh.connection import connection
from vmops.wait import wait_for

from .fake_worker import FakeWorker

Start = Callable[..., FakeWorker]

SUDO = """#!/bin/sh
# A sudo for tests: -n wants no password, -S reads {password} from its input.
while [ $# -gt 0 ]; do
  case $1 in
    -n) quiet=1; shift;;
    -u) shift 2;;
    -S) shift;;
    -p) prompt=$2; shift 2;;
    *) break;;
  esac
done
if [ -n "{password}" ]; then
  [ -z "$quiet" ] || {{ echo "sudo: a password is required" >&2; exit 1; }}
  until [ "$word" = "{password}" ]; do
    printf %s "$prompt" >&2
    IFS= read -r word || exit 1
  done
fi
exec "$@"
"""


def install_sudo(home: Path, text: str) -> None:
    (home / "bin").mkdir()
    sudo = home / "bin" / "sudo"
    sudo.write_text(text)
    sudo.chmod(0o755)


def is_alive(pid: int) -> bool:
    """False for a zombie too: nobody may be there to reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second where it ends while it is read
        return False


def test_both_streams_and_the_exit_code_come_back(start: Start, config: fabric.Config) -> None:
    script = "echo out; echo err >&2; exit 7"
    reply = exchange(start().worker(), script, time_limit=10, config=config)
    assert reply == Reply(b"out\n", b"err\n", 7)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param("", b"", id="empty"),
        pytest.param("printf 'no newline'", b"no newline", id="no newline"),
        pytest.param(r"printf 'a\000b\377\n'", b"a\0b\xff\n", id="NUL and no UTF-8"),
        pytest.param("cat", b"", id="no input"),
        pytest.param('echo "$VMOPS_USER"', b"root\n", id="the user"),
        pytest.param("echo 'it''s' \"\\\\\" `echo x` é", "its \\ x é\n".encode(), id="quotes"),
        pytest.param("echo a\\\nb", b"ab\n", id="lines"),
        pytest.param("echo one; )", b"", id="syntax error"),
        pytest.param("exec 1>&-; echo lost", b"", id="closes its output"),
        pytest.param("kill -9 $$", b"", id="kills itself"),
        pytest.param("set -eu; echo $none", b"", id="unset variable"),
    ],
)
def test_what_a_script_may_do(
    start: Start, config: fabric.Config, script: str, expected: bytes
) -> None:
    fake = start()
    assert exchange(fake.worker(), script, time_limit=10, config=config).stdout == expected
    assert exchange(fake.worker(), "echo next", time_limit=10, config=config).stdout == b"next\n"
    assert len(fake.commands) == 1


def test_the_home_is_the_users(start: Start, home: Path, config: fabric.Config) -> None:
    reply = exchange(start().worker(), 'printf %s "$VMOPS_HOME"', time_limit=10, config=config)
    assert reply.stdout == os.fsencode(home)


def test_megabytes_both_ways(start: Start, config: fabric.Config) -> None:
    digits = random.Random(1).randbytes(1_500_000).hex()
    reply = exchange(start().worker(), f"echo {digits}", time_limit=30, config=config)
    assert reply.stdout.decode() == digits + "\n"


def test_the_second_exchange_is_one_round_trip(start: Start, config: fabric.Config) -> None:
    fake = start()
    exchange(fake.worker(), "true", time_limit=10, config=config)
    before = counted()
    exchange(fake.worker(), "true", time_limit=10, config=config)
    spent = counted() - before
    assert (spent.connections, spent.channels, spent.exchanges, spent.round_trips) == (0, 0, 1, 1)
    assert len(fake.commands) == 1


def test_a_script_whose_time_is_up_is_ended_with_all_it_started(
    start: Start, home: Path, config: fabric.Config
) -> None:
    fake = start()
    script = f"sleep 1000 & echo $! >{home}/a; (trap '' TERM; sleep 1001 & echo $! >{home}/b); wait"
    started = time.monotonic()
    with pytest.raises(CommandTimeout, match="w1: the work took longer than 1 s; it was ended"):
        exchange(fake.worker(), script, time_limit=1, config=config)
    assert time.monotonic() - started < 4
    pids = [int((home / name).read_text()) for name in "ab"]
    assert wait_for(lambda: not any(map(is_alive, pids)) or None, 5)
    assert exchange(fake.worker(), "echo fine", time_limit=10, config=config).stdout == b"fine\n"


def test_a_script_may_undo_when_its_time_is_up(
    start: Start, home: Path, config: fabric.Config
) -> None:
    script = f"trap 'sleep 1; echo undone >{home}/undone; exit 1' TERM; sleep 1000 & wait"
    with pytest.raises(CommandTimeout):
        exchange(start().worker(), script, time_limit=1, config=config)
    assert (home / "undone").read_text() == "undone\n"


def test_a_script_that_ends_with_124_by_itself_is_no_time_out(
    start: Start, config: fabric.Config
) -> None:
    assert exchange(start().worker(), "exit 124", time_limit=5, config=config).exit_code == 124


def test_threads_get_shells_of_their_own(start: Start, config: fabric.Config) -> None:
    fake = start()
    together = threading.Barrier(SHELLS)

    def ask(number: int) -> bytes:
        together.wait()
        return exchange(
            fake.worker(), f"sleep 0.5; echo {number}", time_limit=20, config=config
        ).stdout

    started = time.monotonic()
    with ThreadPoolExecutor(SHELLS) as pool:
        answers = list(pool.map(ask, range(SHELLS)))
    assert answers == [f"{number}\n".encode() for number in range(SHELLS)]
    assert time.monotonic() - started < SHELLS * 0.5
    assert fake.connections == 1
    assert len(fake.commands) <= SHELLS


@pytest.mark.parametrize("most_sessions", [1, 2, 100])
def test_more_threads_than_shells_wait_their_turn(
    start: Start, config: fabric.Config, most_sessions: int
) -> None:
    fake = start(most_sessions=most_sessions)
    exchange(fake.worker(), "true", time_limit=10, config=config)
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(
                lambda n: exchange(fake.worker(), f"echo {n}", time_limit=30, config=config).stdout,
                range(20),
            )
        )
    assert answers == [f"{number}\n".encode() for number in range(20)]
    assert len(fake.commands) <= min(SHELLS, most_sessions)


def test_a_refused_shell_comes_when_the_only_one_has_just_ended_its_work(
    start: Start, config: fabric.Config
) -> None:
    fake = start(most_sessions=1, refuses_after_s=1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(exchange, fake.worker(), "sleep 0.5", time_limit=10, config=config)
        assert wait_for(lambda: fake.commands or None, 5)
        second = exchange(fake.worker(), "echo mine", time_limit=10, config=config)
        assert first.result().exit_code == 0
    assert second.stdout == b"mine\n"
    assert len(fake.commands) == 1


def test_a_new_connection_may_have_more_shells_than_the_last(
    start: Start, home: Path, config: fabric.Config
) -> None:
    fake = start(most_sessions=1)
    worker = fake.worker()

    def meet(mine: str, others: str) -> int:
        script = f"cd {home}; touch {mine}; until [ -e {others} ]; do sleep 0.05; done"
        return exchange(worker, script, time_limit=5, config=config).exit_code

    with ThreadPoolExecutor(2) as pool:
        assert list(
            pool.map(lambda _: exchange(worker, "sleep 0.3", time_limit=9, config=config), range(2))
        )
        died = connection(worker, config=config).live_transport
        fake.most_sessions = 2
        fake.hang_up()
        died.join(5)
        assert list(pool.map(meet, "ab", "ba")) == [0, 0]


def test_nobody_waits_forever_for_a_turn(start: Start, config: fabric.Config) -> None:
    fake = start(most_sessions=1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(exchange, fake.worker(), "sleep 2", time_limit=10, config=config)
        assert wait_for(lambda: fake.commands or None, 5)
        with pytest.raises(WorkFailed, match="none ended in time"):
            exchange(fake.worker(), "true", time_limit=1, config=config)
        assert first.result().exit_code == 0


def test_no_limit_is_too_long(start: Start, config: fabric.Config) -> None:
    reply = exchange(start().worker(), "sleep 0.2; echo x", time_limit=1e300, config=config)
    assert reply.stdout == b"x\n"


def test_a_connection_that_dies_meanwhile(start: Start, home: Path, config: fabric.Config) -> None:
    fake = start()
    script = f"echo begun >{home}/begun; sleep 1; echo done >{home}/done"
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(exchange, fake.worker(), script, time_limit=20, config=config)
        assert wait_for(lambda: (home / "begun").exists() or None, 5)
        fake.hang_up()
        with pytest.raises(ConnectionLost, match="w1: the connection was lost"):
            under_way.result(5)
    assert wait_for(lambda: (home / "done").exists() or None, 5), "the script did not go on"
    assert exchange(fake.worker(), "echo back", time_limit=10, config=config).stdout == b"back\n"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Idle for too long", "the connection was lost: sshd said: Idle for too long;?"),
        ("", "the connection was lost: sshd said: code 11"),
        ("x" * 5000, f"sshd said: {'x' * 200}$"),
        ("a\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "sshd said: a"),
    ],
)
def test_what_sshd_says_when_it_ends_a_connection_is_told(
    said: str, told: str, start: Start, home: Path, config: fabric.Config
) -> None:
    fake = start()
    script = f"echo begun >{home}/begun; until [ -e {home}/over ]; do sleep 0.1; done"
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(exchange, fake.worker(), script, time_limit=90, config=config)
        assert wait_for(lambda: (home / "begun").exists() or None, 30)
        fake.part(said)
        with pytest.raises(ConnectionLost) as lost:
            under_way.result(30)
    (home / "over").touch()
    assert re.search(told, lost.value.what), lost.value.what


def test_a_root_shell_that_was_killed(start: Start, config: fabric.Config) -> None:
    fake = start()
    with pytest.raises(WorkFailed, match="its root shell was ended by somebody else"):
        exchange(fake.worker(), "kill -9 $(ps -o ppid= -p $PPID)", time_limit=10, config=config)
    assert exchange(fake.worker(), "echo back", time_limit=10, config=config).stdout == b"back\n"
    assert fake.connections == 1


def test_an_idle_shell_that_ended_is_not_used(
    start: Start, home: Path, config: fabric.Config
) -> None:
    fake = start()
    exchange(fake.worker(), "true", time_limit=10, config=config)
    exchange(fake.worker(), f"ps -o ppid= -p $PPID >{home}/loop", time_limit=10, config=config)
    opened = connection(fake.worker(), config=config)
    opened.run(f"kill -9 $(cat {home}/loop)", hide=True, in_stream=False)
    reply = exchange(fake.worker(), "echo back", time_limit=10, config=config)
    assert reply.stdout == b"back\n"


class TestSudo:
    def test_without_a_password(self, start: Start, home: Path, config: fabric.Config) -> None:
        install_sudo(home, SUDO.format(password=""))
        fake = start()
        reply = exchange(
            fake.worker(user="ubuntu"), 'echo "$VMOPS_USER"', time_limit=10, config=config
        )
        assert reply.stdout == b"ubuntu\n"
        assert "sudo -n" in fake.commands[0]

    def test_with_a_password(self, start: Start, home: Path, config: fabric.Config) -> None:
        install_sudo(home, SUDO.format(password="open sesame"))
        config.sudo.password = "open sesame"
        worker = start().worker(user="ubuntu")
        for _ in range(2):
            reply = exchange(worker, "echo root; cat", time_limit=10, config=config)
            assert reply == Reply(b"root\n", b"", 0)

    def test_with_a_password_that_nobody_asked_for(
        self, start: Start, home: Path, config: fabric.Config
    ) -> None:
        install_sudo(home, SUDO.format(password=""))
        config.sudo.password = "not wanted"
        reply = exchange(start().worker(user="me"), "echo root", time_limit=10, config=config)
        assert reply == Reply(b"root\n", b"", 0)

    def test_with_a_wrong_password(self, start: Start, home: Path, config: fabric.Config) -> None:
        install_sudo(home, SUDO.format(password="right"))
        config.sudo.password = "wrong"
        with pytest.raises(WorkFailed, match="w1: sudo refused the password"):
            exchange(start().worker(user="me"), "echo root", time_limit=10, config=config)

    @pytest.mark.parametrize(
        ("sudo", "what", "cure"),
        [
            (SUDO.format(password="x"), "sudo asks for a password", "NOPASSWD"),
            (
                "#!/bin/sh\necho 'me is not in the sudoers file.' >&2; exit 1",
                "me may not use sudo there",
                "sudoers",
            ),
            (
                "#!/bin/sh\necho 'Sorry, user me is not allowed to execute /bin/sh' >&2; exit 1",
                "sudo does not let me start a root shell",
                "sudoers",
            ),
            (
                "#!/bin/sh\necho 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1",
                "sudo there wants a terminal",
                "requiretty",
            ),
            (
                "#!/bin/sh\necho 'Sorry, user me may not run sudo on w1.' >&2; exit 1",
                "me may not use sudo there",
                "sudoers",
            ),
            (
                "#!/bin/sh\necho 'stty: rc: No such file, not allowed to read sudoers' >&2; "
                "echo 'sudo: parse error' >&2; exit 1",
                "no root shell starts: sudo: parse error",
                "",
            ),
            (
                "#!/bin/sh\necho 'sudo: the moon is full' >&2; exit 1",
                "no root shell starts: sudo: the moon is full",
                "",
            ),
            (
                "#!/bin/sh\necho 'stty: standard input: Inappropriate ioctl' >&2; "
                "echo 'env: ‘sudo’: No such file or directory' >&2; exit 127",
                "there is no sudo",
                "install sudo",
            ),
            ("#!/bin/sh\nexit 3", "no root shell starts: exit code 3", ""),
            (
                "#!/bin/sh\necho \"env: 'sudo': No such file or directory\" >&2; exit 127",
                "there is no sudo",
                "install sudo",
            ),
        ],
    )
    def test_a_refusal_is_told(
        self,
        start: Start,
        home: Path,
        config: fabric.Config,
        sudo: str,
        what: str,
        cure: str,
    ) -> None:
        install_sudo(home, sudo)
        fake = start()
        with pytest.raises(WorkFailed) as caught:
            exchange(fake.worker(user="me"), "echo root", time_limit=10, config=config)
        assert caught.value.what == what
        assert cure in caught.value.cure
        assert caught.value.exit_code == 1


@pytest.mark.parametrize("is_private", [False, True])
def test_what_is_private_does_not_go_with_the_command(
    start: Start, config: fabric.Config, is_private: bool
) -> None:
    """A command line stands in the worker's list of processes."""
    fake = start()
    script = (PRIVATE if is_private else "") + "echo hunter2"
    reply = exchange(fake.worker(), script, time_limit=10, config=config)
    assert reply.stdout == b"hunter2\n"
    (line,) = fake.commands
    words = [word for word in shlex.split(line) if re.fullmatch(r"[A-Za-z0-9+/=]{40,}", word)]
    seen = any(b"hunter2" in b64decode(word) for word in words) or "hunter2" in line
    assert seen is not is_private
