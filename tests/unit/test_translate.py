from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import replace

import paramiko
import pytest

from vmops.core.inventory.model import Worker
from vmops.errors import (
    CommandTimeout,
    ConnectionLost,
    LoginRefused,
    VmopsError,
    WorkerUnreachable,
    WorkFailed,
)
from vmops.remote.ssh.endpoint import Endpoint, endpoint_of
from vmops.remote.ssh.translate import Tried, unreachable, was_dropped, working
from vmops.remote.ssh.transport import NoBanner, OpeningTimeout

from .test_endpoint import config

ENDPOINT = endpoint_of(Worker("w1", address="10.0.0.1"), config(""))
PROXIED = replace(ENDPOINT, via="nc jump 22")
KEYS = ("/k/one (SHA256:abc)", "/k/two (no such file)")


@pytest.mark.parametrize(
    ("endpoint", "error", "offered", "kind", "words"),
    [
        pytest.param(
            ENDPOINT,
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            (),
            WorkerUnreachable,
            ["w1: the name 10.0.0.1 cannot be resolved: Name or service not known"],
            id="DNS",
        ),
        pytest.param(
            ENDPOINT,
            ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
            (),
            WorkerUnreachable,
            ["w1: 10.0.0.1 port 22 refuses connections", "is sshd running"],
            id="no sshd",
        ),
        pytest.param(
            ENDPOINT,
            TimeoutError("timed out"),
            (),
            WorkerUnreachable,
            ["no answer from 10.0.0.1 port 22 within 10 s"],
            id="no answer",
        ),
        pytest.param(
            ENDPOINT,
            OSError(errno.EHOSTUNREACH, "No route to host"),
            (),
            WorkerUnreachable,
            ["10.0.0.1 port 22 cannot be reached: No route to host"],
            id="no route",
        ),
        pytest.param(
            ENDPOINT,
            paramiko.SSHException("Error reading SSH protocol banner"),
            (),
            WorkerUnreachable,
            ["hung up before the login", "MaxStartups"],
            id="dropped",
        ),
        pytest.param(
            ENDPOINT,
            paramiko.SSHException("Error reading SSH protocol bannertimed out"),
            (),
            WorkerUnreachable,
            ["says nothing for 10 s"],
            id="silent",
        ),
        pytest.param(
            ENDPOINT,
            NoBanner("Error reading SSH protocol banner", "", hung_up=True),
            (),
            WorkerUnreachable,
            ["hung up before the login", "MaxStartups"],
            id="dropped by a transport",
        ),
        pytest.param(
            ENDPOINT,
            NoBanner("no protocol banner", "Exceeded MaxStartups", hung_up=True),
            (),
            WorkerUnreachable,
            ["10.0.0.1 port 22 gives no SSH banner, but says: 'Exceeded MaxStartups'"],
            id="dropped with a word",
        ),
        pytest.param(
            ENDPOINT,
            paramiko.SSHException("No existing session"),
            (),
            WorkerUnreachable,
            ["says nothing for 10 s"],
            id="silent after the banner",
        ),
        pytest.param(
            ENDPOINT,
            paramiko.AuthenticationException("Authentication timeout."),
            KEYS,
            WorkerUnreachable,
            ["does not answer the login within 30 s", "-t SECONDS"],
            id="silent in the login",
        ),
        pytest.param(
            ENDPOINT,
            paramiko.AuthenticationException("Authentication failed."),
            KEYS,
            LoginRefused,
            ["refused the login of ubuntu", *KEYS, "authorized_keys"],
            id="login refused",
        ),
        pytest.param(
            ENDPOINT,
            paramiko.BadAuthenticationType("Bad authentication type", ["publickey"]),
            (),
            LoginRefused,
            ["nothing: no key, no agent, no password"],
            id="nothing to offer",
        ),
        pytest.param(
            ENDPOINT, EOFError(), KEYS, LoginRefused, [KEYS[0]], id="hung up in the login"
        ),
        pytest.param(
            ENDPOINT,
            paramiko.ChannelException(2, "Connect failed"),
            (),
            WorkerUnreachable,
            ["the gateway cannot reach 10.0.0.1 port 22"],
            id="gateway",
        ),
        pytest.param(
            ENDPOINT,
            OpeningTimeout("sshd opened no channel within 10 s"),
            (),
            WorkerUnreachable,
            ["no answer from 10.0.0.1 port 22 within 10 s"],
            id="slow gateway",
        ),
        pytest.param(
            PROXIED,
            EOFError(),
            (),
            WorkerUnreachable,
            ["the ProxyCommand ended: nc jump 22"],
            id="ProxyCommand",
        ),
    ],
)
def test_a_failure_on_the_way_is_told(
    endpoint: Endpoint,
    error: Exception,
    offered: Sequence[str],
    kind: type[WorkerUnreachable],
    words: list[str],
) -> None:
    said = unreachable(endpoint, error, Tried(offered))
    assert type(said) is kind
    assert said.exit_code == 3
    assert [word for word in words if word not in str(said)] == []
    assert len(str(said).splitlines()) <= 3


@pytest.mark.parametrize(
    ("error", "dropped"),
    [
        (EOFError(), True),
        (ConnectionResetError(errno.ECONNRESET, "reset"), True),
        (paramiko.SSHException("Error reading SSH protocol banner"), True),
        (paramiko.SSHException("Error reading SSH protocol bannertimed out"), False),
        (NoBanner("Error reading SSH protocol banner", "", hung_up=True), True),
        (NoBanner("Error reading SSH protocol banner", "220 mail", hung_up=False), False),
        (paramiko.AuthenticationException("Authentication failed."), False),
        (ConnectionRefusedError(), False),
        (TimeoutError(), False),
    ],
    ids=repr,
)
def test_only_a_caller_that_was_hung_up_on_tries_again(error: Exception, dropped: bool) -> None:
    assert was_dropped(error) is dropped


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (EOFError(), ConnectionLost, "the connection was lost: it hung up"),
        (OSError(errno.ECONNRESET, "Connection reset by peer"), ConnectionLost, "reset by peer"),
        (paramiko.SSHException("SSH session not active"), ConnectionLost, "not active"),
        (paramiko.ChannelException(1, "Administratively prohibited"), WorkFailed, "MaxSessions"),
        (
            OpeningTimeout("sshd opened no channel within 1 s"),
            CommandTimeout,
            "within 1 s\n  it is",
        ),
        (TimeoutError(errno.ETIMEDOUT, "timed out"), ConnectionLost, "the connection was lost"),
    ],
    ids=repr,
)
def test_a_failure_during_the_work_is_told(
    error: Exception, kind: type[VmopsError], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught, working("w1"):
        raise error
    assert caught.value.__cause__ is error
    assert caught.value.worker == "w1"
    assert caught.value.exit_code == 1


def test_what_is_told_already_goes_through() -> None:
    refused = LoginRefused("no", worker="w1")
    with pytest.raises(LoginRefused) as caught, working("w2"):
        raise refused
    assert caught.value is refused
