from __future__ import annotations

import fabric
import pytest

from vmops.core.inventory.model import Worker
from vmops.remote.refusals import not_ours, refusal
from vmops.remote.ssh.endpoint import Endpoint, endpoint_of


@pytest.fixture(scope="module")
def endpoint() -> Endpoint:
    config = fabric.Config(overrides={"load_ssh_configs": False})
    return endpoint_of(Worker("w1", address="10.0.0.1", user="me"), config)


@pytest.mark.parametrize(
    ("said", "what", "cure"),
    [
        ("sudo: a password is required", "sudo asks for a password", "NOPASSWD"),
        ("sudo-rs: interactive authentication is required", "sudo asks for a password", "NOPASSWD"),
        ("sudo: I'm sorry me. I'm afraid I can't do that", "me may not use sudo there", "sudoers"),
        (
            "sudo: Maximum 3 incorrect authentication attempts",
            "sudo refused the password",
            "is it the one of me?",
        ),
        ("sudo: 1 incorrect password attempt", "sudo refused the password", "of me?"),
        (
            "Sorry, user me is not allowed to execute '/usr/bin/sh -c x' as root on w1.",
            "sudo does not let me start a root shell",
            "/bin/sh",
        ),
        (
            "sudo: sorry, you must have a tty to run sudo",
            "sudo there wants a terminal",
            "requiretty",
        ),
        (
            'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.',
            "sudo cannot become root there: the session is forbidden new privileges",
            "NoNewPrivileges",
        ),
        (
            "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set",
            "sudo cannot become root there: its program lacks root's setuid bit",
            "nosuid",
        ),
        (
            'sudo: Account expired or PAM config lacks an "account" section for sudo',
            "sudo says that the account of me has expired",
            "account of me",
        ),
        (
            "sudo: no valid sudoers sources found, quitting",
            "sudo cannot read its sudoers there",
            "visudo -c",
        ),
        (
            "vmops: not root but user 65534",
            "sudo starts a shell that is not root's",
            "me ALL=(ALL:ALL) NOPASSWD: ALL",
        ),
        ("env: 'sudo': No such file or directory", "there is no sudo", "log in as root"),
        ("kinit: authentication failed", "no root shell starts: kinit: authentication failed", ""),
    ],
)
def test_the_cause_and_the_cure(endpoint: Endpoint, said: str, what: str, cure: str) -> None:
    noise = b"a start-up file says sudo: hello\n"
    error = refusal(endpoint, b"", noise + said.encode() + b"\n", 1)
    assert error.what == what
    assert cure in error.cure
    assert error.worker == "w1"


def test_what_is_not_known_is_quoted_with_something_to_try(endpoint: Endpoint) -> None:
    error = refusal(endpoint, b"", b"sudo: the moon is full\n", 1)
    assert error.what == "no root shell starts: sudo: the moon is full"
    assert error.cure == "try it by hand: ssh me@10.0.0.1 sudo -n -u root true"


@pytest.mark.parametrize("said", [b"", b"\n\n", b"vmops: hello\n"])
def test_nothing_said_leaves_the_exit_code(endpoint: Endpoint, said: bytes) -> None:
    assert refusal(endpoint, said, said, 137).what == "no root shell starts: exit code 137"
    assert "exit code 137" in not_ours(endpoint, said, said, 137).what
    assert "no exit code" in not_ours(endpoint, said, said, None).what
