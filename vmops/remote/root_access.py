"""How a user becomes root on a worker: the command that starts the loop, and sudo's refusals."""

from __future__ import annotations

import re
import secrets
import shlex
from base64 import b64encode

from vmops.errors import WorkFailed
from vmops.remote.ssh.endpoint import Endpoint

UNDO_S = 5
"""What a script has from the SIGTERM that says its time is up to the SIGKILL."""

_READY = b"vmops: ready\n"

_IGNORE = 'trap "" PIPE HUP; '
"""A script goes on when nobody reads what it prints. `timeout` resets what the loop ignores."""

_FROM_STDIN = f'{_IGNORE}script=$(head -c "$1") && exec </dev/null && eval "$script"'

_LOOP = (
    f"{_IGNORE}"
    "VMOPS_HOME=$1 VMOPS_USER=$2 PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; "
    "export VMOPS_HOME VMOPS_USER PATH; "
    "run() { "
    'echo "$1 b"; echo "$1 b" >&2; '
    f'timeout -k {UNDO_S} "$2" sh -c "$3" vmops "$4" <&3 3<&- & group=$!; '
    'wait "$group"; code=$?; '
    'case $code in 124|137) kill -s KILL -- "-$group" 2>/dev/null;; esac; '
    'echo "$1 e $code"; echo "$1 e 0" >&2; '
    "}; "
    "exec 3</dev/null; echo vmops: ready; "
    'if [ -n "$5" ]; then '
    'first=$(printf %s "$7" | base64 -d) && run "$5" "$6" "$first" || exit 1; '
    "fi; "
    "exec 3<&0; "
    "while read -r word nonce length limit; do "
    '[ "$word" != "$4" ] || run "$nonce" "$limit" "$3" "$length"; '
    "done"
)
"""A first script may come as arguments: nonce, limit, and itself in base64. The next ones come
on standard input, each behind a line `KEYWORD NONCE LENGTH LIMIT`. Other lines are skipped: a
password that sudo did not want.

`timeout` leads the script's process group and ends when the script's own shell does, so what is
left of the group then is killed.

One line, without a single quote, a backslash or an exclamation mark, so that every login shell
passes it on as it is.
"""

_CAUSES = (
    (
        "a password is required",
        "sudo asks for a password",
        "allow {user} NOPASSWD in the worker's sudoers, or use --prompt-for-sudo-password",
    ),
    (
        "in the sudoers file|may not run sudo",
        "{user} may not use sudo there",
        "allow {user} in the worker's sudoers, or name another user",
    ),
    (
        "not allowed to execute",
        "sudo does not let {user} start a root shell",
        "allow {user} to run /bin/sh in the worker's sudoers",
    ),
    (
        "must have a tty",
        "sudo there wants a terminal",
        "take requiretty out of the worker's sudoers",
    ),
    (r"sudo\W*: no such file", "there is no sudo", "install sudo there, or log in as root"),
)
"""How sudo or `env` says it, what it means, the cure. Start-up files may say anything before it."""


class RootAccess:
    """The way to root for one login. `command` starts the loop; `password` is its first input.

    sshd takes no input for a command before it has said that it runs: a first script that goes with
    `command_with` saves that round trip.

    `keyword` begins the line before each script.
    """

    def __init__(self, endpoint: Endpoint, password: str | None) -> None:
        self._endpoint = endpoint
        self.keyword = f"vmops-{secrets.token_hex(8)}"
        self._prompt = f"{self.keyword}:"
        is_root = endpoint.user == "root"
        self.password = None if is_root or password is None else f"{password}\n".encode()
        words = ["env", "LC_ALL=C"]
        if not is_root:
            asks = ["-n"] if password is None else ["-S", "-p", self._prompt]
            words += ["sudo", *asks]
        words += ["sh", "-c", _LOOP, "vmops"]
        given = shlex.join([_FROM_STDIN, self.keyword])
        self.command = f'exec {shlex.join(words)} "$HOME" "$USER" {given}'

    def command_with(self, nonce: str, script: bytes, limit_s: int) -> str:
        """The command that starts the loop with this script as its first."""
        encoded = b64encode(_IGNORE.encode() + script).decode()
        return f"{self.command} {nonce} {limit_s} {encoded}"

    def is_asking(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> bool:
        """True until the loop is there. Raises WorkFailed when sudo asks a second time."""
        if stderr.count(self._prompt.encode()) > 1:
            raise self._failure("sudo refused the password", "is it the one of {user}?")
        return _READY not in stdout

    def refusal(self, stderr: bytes, exit_code: int | None) -> WorkFailed:
        """Why the loop did not start, from what was said instead."""
        said = stderr.replace(self._prompt.encode(), b"").decode(errors="replace").strip()
        for pattern, what, cure in _CAUSES:
            if re.search(pattern, said.lower()):
                return self._failure(what, cure)
        last = said.splitlines()[-1] if said else f"exit code {exit_code}"
        return self._failure(f"no root shell starts: {last}", "")

    def _failure(self, what: str, cure: str) -> WorkFailed:
        user = self._endpoint.user
        return WorkFailed(
            what.format(user=user), worker=self._endpoint.label, cure=cure.format(user=user)
        )
