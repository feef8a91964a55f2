"""Why no root shell came: what sudo, a login shell or a start-up file said, and the cure."""

from __future__ import annotations

import re
from typing import NamedTuple

from vmops.core.inventory.complaints import typed
from vmops.errors import CommandTimeout, WorkFailed
from vmops.remote.ssh.endpoint import Endpoint

_MOST_READ = 16_000
"""Bytes of each stream. sudo is short, and a worker may say what it likes."""

_LONGEST_QUOTE = 300


class _Cause(NamedTuple):
    """How sudo or `env` says it, what it means, the cure. USER stands for the SSH user."""

    said: str
    what: str
    cure: str


_CAUSES = (
    _Cause(
        "sudo(-rs)?: .{0,40}(incorrect (password|authentication)|authentication failed)",
        "sudo refused the password",
        "is it the one of USER?",
    ),
    _Cause(
        "a password is required|interactive authentication is required",
        "sudo asks for a password",
        "allow USER NOPASSWD in the worker's sudoers, or use --prompt-for-sudo-password",
    ),
    _Cause(
        "in the sudoers file|may not run sudo|afraid i can't do that",
        "USER may not use sudo there",
        "allow USER in the worker's sudoers, or name another user",
    ),
    _Cause(
        "not allowed to (execute|run)",
        "sudo does not let USER start a root shell",
        "allow USER to run /bin/sh in the worker's sudoers",
    ),
    _Cause(
        "must have a tty|no tty present",
        "sudo there wants a terminal",
        "take requiretty out of the worker's sudoers",
    ),
    _Cause(
        "no new privileges",
        "sudo cannot become root there: the session is forbidden new privileges",
        "look at NoNewPrivileges of the worker's sshd, or of the container it runs in",
    ),
    _Cause(
        "must be owned by uid 0|effective uid is not 0|setuid",
        "sudo cannot become root there: its program lacks root's setuid bit",
        "install sudo there again, and look whether its file system is mounted nosuid",
    ),
    _Cause(
        "password (is |has )?expired|account (is |has )?expired|account validation failure",
        "sudo says that the account of USER has expired",
        "renew the password or the account of USER on the worker",
    ),
    _Cause(
        "no valid sudoers sources|invalid sudoers|unable to initialize policy plugin",
        "sudo cannot read its sudoers there",
        "run visudo -c on the worker",
    ),
    _Cause(
        "vmops: not root",
        "sudo starts a shell that is not root's",
        "let USER run /bin/sh as root in the worker's sudoers: USER ALL=(ALL:ALL) NOPASSWD: ALL",
    ),
    _Cause(
        r"sudo\W{0,9}: no such file", "there is no sudo", "install sudo there, or log in as root"
    ),
)
"""Start-up files may say anything before it."""


def refusal(endpoint: Endpoint, stdout: bytes, stderr: bytes, exit_code: int | None) -> WorkFailed:
    """sudo, or what comes after it, ended before the loop began."""
    said = _text(stderr).lower()
    for cause in _CAUSES:
        if re.search(cause.said, said):
            return _failure(endpoint, cause.what, cause.cure)
    last = _last_line(stderr) or _last_line(stdout) or _ending(exit_code)
    by_hand = typed("ssh", f"{endpoint.user}@{endpoint.host}", "sudo", "-n", "-u", "root", "true")
    cure = f"try it by hand: {by_hand}"
    return WorkFailed(f"no root shell starts: {last}", worker=endpoint.label, cure=cure)


def not_ours(endpoint: Endpoint, stdout: bytes, stderr: bytes, exit_code: int | None) -> WorkFailed:
    """Something else ran in place of our command, and ended."""
    said = _last_line(stderr) or _last_line(stdout)
    return WorkFailed(
        f"the login of {endpoint.user} does not run our commands:"
        f" it ended with {_ending(exit_code)}{_quote(said)}",
        worker=endpoint.label,
        cure="a forced command in authorized_keys or sshd_config, nologin, or a start-up file that"
        f" ends there: let {endpoint.user} have a shell, or name another user",
    )


class Stage(NamedTuple):
    """What a root shell that does not come is waiting for, and what helps."""

    waits_for: str
    cure: str


AT_START_UP = Stage(
    "the login shell of USER has not got to our command",
    "a start-up file there (~/.bashrc, ~/.profile, ~/.zshenv) reads input, shows a menu or starts"
    " another shell: let it do so only where $- has an i; or a forced command waits",
)
AT_SUDO = Stage(
    "sudo does not answer",
    "try it there: sudo -n -u root true; it may wait for a name server, for PAM or for a directory",
)
AT_LOOP = Stage("its root shell does not answer", "is the worker overloaded, or its disk hanging?")


def no_answer(
    endpoint: Endpoint, stage: Stage, waited_s: float, stdout: bytes, stderr: bytes
) -> CommandTimeout:
    """The loop did not come in its time."""
    said = _last_line(stderr) or _last_line(stdout)
    waits_for = _named(endpoint, stage.waits_for)
    return CommandTimeout(
        f"no root shell after {waited_s:.0f} s: {waits_for}{_quote(said)}",
        worker=endpoint.label,
        cure=_named(endpoint, stage.cure),
    )


def waiting_text(endpoint: Endpoint, stage: Stage, waited_s: float) -> str:
    """For whoever sits and waits."""
    return f"{endpoint.label}: {_named(endpoint, stage.waits_for)} after {waited_s:.0f} s; waiting"


def _failure(endpoint: Endpoint, what: str, cure: str) -> WorkFailed:
    return WorkFailed(_named(endpoint, what), worker=endpoint.label, cure=_named(endpoint, cure))


def _named(endpoint: Endpoint, text: str) -> str:
    """A text of ours with the user's name in it. Never one of the worker's."""
    return text.replace("USER", endpoint.user)


def _quote(said: str) -> str:
    return f", and said: {said}" if said else ""


def _ending(exit_code: int | None) -> str:
    return "no exit code" if exit_code is None else f"exit code {exit_code}"


def _text(data: bytes) -> str:
    return data[-_MOST_READ:].decode(errors="replace").strip()


def _last_line(data: bytes) -> str:
    """The last line that is not empty and not ours."""
    lines = [line.strip() for line in _text(data).split("\n")]
    words = [line for line in lines if line and not line.startswith("vmops: ")]
    return words[-1][:_LONGEST_QUOTE] if words else ""
