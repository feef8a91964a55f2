"""Workers that lie: garbage, gigabytes, nothing, too late, wrong frames, texts that act."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable
from pathlib import Path

import fabric
import pytest

from vmops.errors import CommandTimeout, UnexpectedOutput, WorkFailed
from vmops.remote import exchange as exchanges
from vmops.remote.exchange import exchange
from vmops.remote.run import run, stream

from .fake_worker import FakeWorker
from .test_exchange import install_sudo

Start = Callable[..., FakeWorker]

HEADER = "read -r word nonce length limit; "
"""What a sudo in the place of the loop reads of a script, to answer it with frames of its own."""


def sudo(home: Path, text: str) -> None:
    install_sudo(home, f"#!/bin/sh\n{text}\n")


def memory_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "START_LIMIT_S", 3.0)
    monkeypatch.setattr(exchanges, "SAY_AFTER_S", 0.3)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("exec yes", id="lines"),
        pytest.param("exec yes >&2", id="lines of errors"),
        pytest.param("exec tr '\\0' x </dev/zero", id="one line"),
        pytest.param("exec cat /dev/urandom", id="garbage"),
        pytest.param(HEADER + 'echo "$nonce b"; exec cat /dev/zero', id="in the frame"),
        pytest.param(HEADER + 'echo "$nonce b"; printf "$nonce e "; exec yes 1', id="in the code"),
    ],
)
def test_what_is_printed_for_ever_is_cut_off(
    start: Start, home: Path, config: fabric.Config, text: str
) -> None:
    sudo(home, text)
    worker = start().worker(user="me")
    before, began = memory_kb(), time.monotonic()
    with pytest.raises(UnexpectedOutput, match=r"^w1: (it printed more than 16 MiB|the answer of)"):
        exchange(worker, "true", time_limit=60, config=config)
    assert time.monotonic() - began < 20
    assert memory_kb() - before < 150_000


@pytest.mark.parametrize("stage", ["start-up file", "sudo"])
def test_what_hangs_is_named(
    start: Start,
    home: Path,
    config: fabric.Config,
    caplog: pytest.LogCaptureFixture,
    hurried: None,
    stage: str,
) -> None:
    if stage == "sudo":
        sudo(home, f'sleep 6; touch {home}/came; exec "$@"')
        fake = start()
        what, cure = "no root shell after 3 s: sudo does not answer", "sudo -n -u root true"
    else:
        shell = home / "shell"
        shell.write_text(
            '#!/bin/sh\necho "1) production  2) staging"\nread -r choice\nexec sh "$@"\n'
        )
        shell.chmod(0o755)
        fake = start(shell=str(shell))
        what = (
            "no root shell after 3 s: the login shell of me has not got to our command,"
            " and said: 1) production  2) staging"
        )
        cure = "a start-up file there"
    with caplog.at_level(logging.WARNING, "vmops"), pytest.raises(CommandTimeout) as caught:
        exchange(fake.worker(user="me"), f"touch {home}/done", time_limit=60, config=config)
    assert caught.value.what == what
    assert cure in caught.value.cure
    assert [record.name for record in caplog.records] == ["vmops.waiting"]
    assert "w1: " in caplog.text
    if stage == "sudo":
        time.sleep(4)
        assert (home / "came").exists()
        assert not (home / "done").exists(), "the script ran after it was given up"


def test_what_drips_is_given_up_as_well(
    start: Start, home: Path, config: fabric.Config, hurried: None
) -> None:
    sudo(home, "while :; do echo still here; sleep 0.2; done")
    with pytest.raises(CommandTimeout, match="no root shell after 3 s"):
        exchange(start().worker(user="me"), "true", time_limit=60, config=config)


def test_what_comes_late_is_waited_for_and_said(
    start: Start,
    home: Path,
    config: fabric.Config,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchanges, "SAY_AFTER_S", 0.3)
    sudo(home, 'sleep 1; shift 3; exec "$@"')
    with caplog.at_level(logging.WARNING, "vmops"):
        reply = exchange(start().worker(user="me"), "echo fine", time_limit=1, config=config)
    assert reply.stdout == b"fine\n"
    assert [r.getMessage() for r in caplog.records] == [
        "w1: sudo does not answer after 0 s; waiting"
    ]


FRAMES = {
    "no number": 'echo "$nonce b"; echo "$nonce e x"',
    "no code": 'echo "$nonce b"; echo "$nonce e "',
    "negative": 'echo "$nonce b"; echo "$nonce e -1"',
    "too large": 'echo "$nonce b"; echo "$nonce e 99999999999999999999"',
    "other digits": 'echo "$nonce b"; echo "$nonce e ٣"',
    "underscore": 'echo "$nonce b"; echo "$nonce e 1_0"',
    "blank": 'echo "$nonce b"; echo "$nonce e  0"',
    "two": 'echo "$nonce b"; echo "$nonce e 0 0"',
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_a_frame_that_is_none_is_one_error(
    start: Start, home: Path, config: fabric.Config, frame: str
) -> None:
    sudo(home, f"{HEADER}{frame}; exec sleep 9")
    with pytest.raises(UnexpectedOutput, match=r"^w1: the answer of its root shell cannot be read"):
        exchange(start().worker(user="me"), "true", time_limit=10, config=config)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('echo "$nonce e 0"; echo "$nonce e 0" >&2', id="an end without a beginning"),
        pytest.param('echo "$nonce b"', id="a beginning without an end"),
        pytest.param('echo "$nonce b"; echo "$nonce e 0"', id="only one stream"),
        pytest.param('echo "$nonce"', id="half a line"),
        pytest.param("echo; exit 0", id="nothing"),
    ],
)
def test_an_answer_that_is_cut_off_is_one_error(
    start: Start, home: Path, config: fabric.Config, text: str
) -> None:
    sudo(home, HEADER + text)
    with pytest.raises(WorkFailed, match=r"^w1: "):
        exchange(start().worker(user="me"), "true", time_limit=10, config=config)


@pytest.mark.parametrize(
    "said",
    [
        "{user.__class__}",
        "{0}{}",
        "%s %(user)d",
        "USER",
        "x" * 500_000,
        "sudo" * 100_000,
        "sudo:" + "\\" * 200_000,
        "I'm sorry " * 20_000,
        "\N{LINE SEPARATOR}two\x85lines\x0b",
        "\x1b]0;title\x07",
    ],
    ids=[
        "format",
        "places",
        "percent",
        "our word",
        "long",
        "word",
        "signs",
        "sorry",
        "ends",
        "acts",
    ],
)
def test_a_text_does_not_act(start: Start, home: Path, config: fabric.Config, said: str) -> None:
    (home / "said").write_text(said + "\n")
    sudo(home, f"cat {home}/said >&2; exit 1")
    began = time.monotonic()
    with pytest.raises(WorkFailed) as caught:
        exchange(start().worker(user="me"), "true", time_limit=10, config=config)
    assert caught.value.what.startswith("no root shell starts: ")
    quoted = caught.value.what.removeprefix("no root shell starts: ")
    assert quoted == said.strip() or (len(quoted) == 300 and quoted in said)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("code", [0, 1, 142])
def test_a_login_without_a_shell_is_quoted(
    start: Start, home: Path, config: fabric.Config, code: int
) -> None:
    shell = home / "nologin"
    shell.write_text(f"#!/bin/sh\necho 'This account is currently not available.'\nexit {code}\n")
    shell.chmod(0o755)
    worker = start(shell=str(shell)).worker(user="me")
    with pytest.raises(WorkFailed) as caught:
        exchange(worker, "true", time_limit=10, config=config)
    assert caught.value.what == (
        f"the login of me does not run our commands: it ended with exit code {code},"
        " and said: This account is currently not available."
    )
    assert "forced command" in caught.value.cure


def test_a_login_that_takes_the_commands_place_is_no_success(
    start: Start, home: Path, config: fabric.Config
) -> None:
    shell = home / "menu"
    shell.write_text("#!/bin/sh\necho 'Only backups here.'\n")
    shell.chmod(0o755)
    said = bytearray()
    with pytest.raises(WorkFailed, match="ended, with exit code 0, before it got to the command"):
        stream(
            start(shell=str(shell)).worker(),
            "true",
            lambda _, data: said.extend(data),
            time_limit=10,
            config=config,
        )
    assert said == b"Only backups here.\n"


def test_a_sudo_that_is_not_roots_is_refused(
    start: Start, home: Path, config: fabric.Config
) -> None:
    sudo(home, 'shift 3; exec setpriv --reuid 65534 --clear-groups "$@"')
    (home / "bin").chmod(0o755)
    home.chmod(0o755)
    with pytest.raises(WorkFailed, match="w1: sudo starts a shell that is not root's"):
        exchange(start().worker(user="me"), "true", time_limit=10, config=config)


class TestRun:
    def test_a_command_that_never_stops_printing_ends_in_time(
        self, start: Start, config: fabric.Config
    ) -> None:
        before, size = memory_kb(), 0

        def count(_: str, data: bytes) -> None:
            nonlocal size
            size += len(data)

        began = time.monotonic()
        with pytest.raises(CommandTimeout, match="longer than 2 s; it was ended there"):
            stream(start().worker(), "yes", count, time_limit=2, config=config)
        assert time.monotonic() - began < 8
        assert size > 1_000_000
        assert memory_kb() - before < 150_000

    def test_what_is_kept_has_a_bound(
        self, start: Start, config: fabric.Config, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vmops.remote.run.COLLECTED_BYTES", 2**20)
        with pytest.raises(UnexpectedOutput, match="w1: the command printed more than 1 MiB"):
            run(start().worker(), "exec yes", time_limit=20, config=config)

    def test_a_login_that_only_complains_ends_in_time(
        self, start: Start, home: Path, config: fabric.Config
    ) -> None:
        shell = home / "loud"
        shell.write_text("#!/bin/sh\nexec yes 12345 >&2\n")
        shell.chmod(0o755)
        worker = start(shell=str(shell)).worker()
        with pytest.raises(CommandTimeout, match="did not get to the command within 1 s"):
            stream(worker, "true", lambda *_: None, time_limit=1, config=config)
