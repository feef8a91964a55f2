from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import fabric
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmops import RemoteExecutor
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import Settings
from vmops.wait import wait_for

from .fake_worker import FakeWorker

Start = Callable[..., FakeWorker]


@pytest.fixture
def fake(start: Start) -> FakeWorker:
    return start()


@pytest.fixture
def executor(fake: FakeWorker, config: fabric.Config) -> RemoteExecutor:
    inventory = Inventory(
        defaults=Settings(known_hosts=str(fake.home / "known_hosts")),
        workers={"w1": fake.worker(user="listed")},
        vms={},
        source="hosts.toml",
    )
    return RemoteExecutor("ubuntu", inventory=inventory, config=config)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        pytest.param("echo hello; echo no >&2", (True, "hello\n"), id="stdout on success"),
        pytest.param("echo no; echo why >&2; exit 3", (False, "why\n"), id="stderr on failure"),
        pytest.param("echo a\necho b", (True, "a\nb\n"), id="lines"),
        pytest.param(r"printf 'a\377b'", (True, "a�b"), id="no UTF-8"),
    ],
)
def test_execute_direct(executor: RemoteExecutor, command: str, expected: tuple[bool, str]) -> None:
    assert executor.execute_direct("127.0.0.1", command) == expected


def test_inside_an_event_loop(executor: RemoteExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook has one that runs. No other is started, in no thread."""

    async def program() -> list[tuple[bool, str]]:
        for starts in (asyncio, asyncio.events):
            monkeypatch.setattr(starts, "new_event_loop", lambda: pytest.fail("a second loop"))
        here = executor.execute_direct("127.0.0.1", "echo here")
        there = asyncio.to_thread(executor.execute_direct, "127.0.0.1", "echo there")
        return [here, await there]

    assert asyncio.run(program()) == [(True, "here\n"), (True, "there\n")]


@pytest.mark.parametrize("timeout", [3_000_000, 1e300, float("inf"), float("nan"), None])
def test_no_limit_is_too_long(executor: RemoteExecutor, timeout: float | None) -> None:
    said = executor.execute_direct("127.0.0.1", "sleep 0.2; echo x", timeout=timeout)
    assert said == (True, "x\n")


@pytest.mark.parametrize("timeout", [0, -1, float("-inf")])
def test_no_limit_is_too_short(executor: RemoteExecutor, timeout: float) -> None:
    done, said = executor.execute_direct("127.0.0.1", "sleep 100", timeout=timeout)
    assert (done, "longer than 0 s" in said or "within 0 s" in said) == (False, True)


def test_it_logs_in_as_the_remote_user(executor: RemoteExecutor, fake: FakeWorker) -> None:
    executor.execute_direct("127.0.0.1", "true")
    executor.execute_direct("w1", "true")
    assert fake.logins == ["ubuntu"]


def test_execute_streams_the_script(
    executor: RemoteExecutor, fake: FakeWorker, tmp_path: Path
) -> None:
    script = tmp_path / "script.sh"
    script.write_text('echo "$#: $1 $2"\n# a comment\necho "$0"')
    assert executor.execute("127.0.0.1", str(script), args=["eth1", "101"]) == (
        True,
        "2: eth1 101\nbash\n",
    )


@pytest.mark.parametrize("line", ["cat >/dev/null", "read -r x", "while read -r x; do :; done"])
def test_no_line_of_a_script_eats_the_rest(
    executor: RemoteExecutor, tmp_path: Path, line: str
) -> None:
    script = tmp_path / "script.sh"
    script.write_text(f"echo one\n{line}\necho two")
    assert executor.execute("127.0.0.1", script) == (True, "one\ntwo\n")


@pytest.mark.parametrize("how", ["execute_direct", "execute"])
def test_what_came_before_the_time_was_up_stands_behind_the_message(
    executor: RemoteExecutor, tmp_path: Path, how: str
) -> None:
    text = "echo step 1; echo why >&2; sleep 100"
    (tmp_path / "script.sh").write_text(text)
    call = executor.execute if how == "execute" else executor.execute_direct
    done, said = call("w1", str(tmp_path / "script.sh") if how == "execute" else text, timeout=1)
    assert done is False
    assert said == (
        "w1: the command took longer than 1 s; it was ended there\n"
        "output until then:\nstep 1\nerror output until then:\nwhy"
    )


def test_what_came_before_the_connection_was_lost_stands_behind_the_message(
    executor: RemoteExecutor, fake: FakeWorker, home: Path
) -> None:
    def lose_it() -> None:
        wait_for(lambda: (home / "begun").exists() or None, 9)
        fake.hang_up()

    threading.Thread(target=lose_it).start()
    command = f"echo step 1; sleep 0.5; touch {home}/begun; sleep 3"
    done, said = executor.execute_direct("w1", command)
    assert done is False
    assert "the connection was lost" in said
    assert said.endswith("output until then:\nstep 1")


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    args=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4
    )
)
def test_every_argument_arrives_as_one(
    executor: RemoteExecutor, tmp_path: Path, args: list[str]
) -> None:
    script = tmp_path / "script.sh"
    script.write_text('printf "%s\\0" "$#" "$@"')
    done, said = executor.execute("127.0.0.1", script, args=args)
    assert done, said
    assert said.split("\0")[:-1] == [str(len(args)), *args]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        pytest.param(
            lambda e: e.execute("127.0.0.1", "/no/such/script.sh"),
            "/no/such/script.sh cannot be read: No such file or directory",
            id="no script",
        ),
        pytest.param(
            lambda e: e.execute("127.0.0.1", "/dev/null", args=["a\0b"]), "NUL byte", id="NUL"
        ),
        pytest.param(
            lambda e: e.execute_direct("127.0.0.1", "sleep 100", timeout=1),
            "took longer than 1 s; it was ended there",
            id="time-out",
        ),
        pytest.param(
            lambda e: e.execute_direct("127.0.0.2", "true"),
            "port 22 refuses connections",
            id="not listed, nobody there",
        ),
        pytest.param(
            lambda e: e.execute_direct("not an address", "true"), "address", id="bad address"
        ),
        pytest.param(lambda e: e.execute_direct("a..b", "true"), "a..b", id="empty part"),
    ],
)
def test_a_failure_is_told_and_logged(
    executor: RemoteExecutor,
    caplog: pytest.LogCaptureFixture,
    call: Callable[[RemoteExecutor], tuple[bool, str]],
    expected: str,
) -> None:
    with caplog.at_level(logging.ERROR, "vmops"):
        done, said = call(executor)
    assert done is False
    assert expected in said
    assert expected in caplog.text


def test_a_login_that_is_refused(start: Start, fabric_without_keys: fabric.Config) -> None:
    fake = start()
    inventory = Inventory(Settings(), {"w1": fake.worker()}, {}, "hosts.toml")
    done, said = RemoteExecutor(inventory=inventory, config=fabric_without_keys).execute_direct(
        "127.0.0.1", "true"
    )
    assert done is False
    assert "refused the login of ubuntu" in said


@pytest.fixture
def fabric_without_keys(home: Path) -> fabric.Config:
    return fabric.Config()


def test_the_inventory_of_the_environment(
    fake: FakeWorker, config: fabric.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = tmp_path / "hosts.toml"
    hosts.write_text(
        f'[defaults]\nknown_hosts = "{tmp_path}/known_hosts"\n'
        f'[workers.w1]\naddress = "127.0.0.1"\nport = {fake.port}\n'
    )
    monkeypatch.setenv("VMOPS_HOSTS", str(hosts))
    assert RemoteExecutor(config=config).execute_direct("127.0.0.1", "echo x") == (True, "x\n")


def test_a_broken_inventory_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMOPS_HOSTS", str(tmp_path / "none.toml"))
    done, said = RemoteExecutor().execute_direct("127.0.0.1", "true")
    assert done is False
    assert "none.toml" in said


def test_without_an_inventory_the_defaults_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VMOPS_HOSTS", raising=False)
    worker = RemoteExecutor().worker("10.0.10.1", vnc_listen="0.0.0.0")
    assert (worker.address, worker.user, worker.port) == ("10.0.10.1", "ubuntu", None)
    assert (worker.vnc_listen, worker.host_keys) == ("0.0.0.0", "accept-new")
