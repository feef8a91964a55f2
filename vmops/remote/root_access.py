"""How a user becomes root on a worker: the command that starts the loop which runs the scripts."""

from __future__ import annotations

import re
import secrets
import shlex
from base64 import b64encode

from vmops.errors import WorkFailed
from vmops.remote.refusals import refusal
from vmops.remote.ssh.endpoint import Endpoint

UNDO_S = 5
"""What a script has from the SIGTERM that says its time is up to the SIGKILL."""

HELLO = b"vmops: hello\n"
"""The login shell says it, before sudo: its start-up files are done, and it runs our command."""

_SAY_HELLO = "echo vmops: hello"

READY = b"vmops: ready\n"
"""The loop says it, as root; the line before it has the machine's uptime in seconds."""

_UPTIME = re.compile(rb"vmops: up ([0-9]{1,10}(?:\.[0-9]{1,3})?)\n" + READY)

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
    'case $code in 124|125|137) kill -s KILL -- "-$group" 2>/dev/null;; esac; '
    'echo "$1 e $code"; echo "$1 e 0" >&2; '
    "}; "
    "exec 3<&0; "
    "read -r now rest </proc/uptime; "
    'case $6 in ?*) [ "$((${now%%.*} - ${6%%.*}))" -lt "$5" ] || exit 1;; esac; '
    'begun=${now%%.*}; echo "vmops: up $now"; echo vmops: ready; '
    "while read -r word nonce length limit latest; do "
    '[ "$word" = "$4" ] || continue; '
    "read -r now rest </proc/uptime; "
    'if [ "${now%%.*}" -gt "${latest:-$((begun + ${5:-30}))}" ]; then '
    'head -c "$length" <&3 >/dev/null; echo "$nonce l $now"; '
    'else run "$nonce" "$limit" "$3" "$length"; fi; '
    "done"
)
"""The scripts come on standard input, each behind a line `KEYWORD NONCE LENGTH LIMIT LATEST`. Other
lines are skipped: a password that sudo did not want. A loop that comes $5 seconds after the
machine's uptime was $6 ends at once: a first script that waits for it was given up by then.

LATEST is an uptime as well. A script that comes later was held up by a connection that hung, and
whoever sent it has given up, most likely, and seen to it otherwise. It is not run but answered with
`NONCE l UPTIME`: who waits still sends it again. The first one has none, and counts from the loop's
beginning.

`timeout` leads the script's process group and ends when the script's own shell does, so what is
left of the group then is killed. That of rust-coreutils 0.0.30 gives 125 where GNU's gives 124.

This and the next two are one line each, without a single quote, a backslash or an exclamation mark,
so that every login shell passes them on as they are.
"""

_IS_ROOT = (
    "while read -r key uid rest; do "
    "case $key$uid in Uid:0) break;; "
    'Uid:*) echo "vmops: not root but user $uid" >&2; exit 1;; esac; '
    "done </proc/self/status; "
)
"""A sudoers may say `runas_default`, and a sudo of the worker's own may do as it likes."""

_AMONG_ALL = (
    "loop=$1; shift; "
    "[ /proc/self/ns/mnt -ef /proc/1/ns/mnt ] || { "
    "nsenter -m -t 1 true 2>/dev/null && "
    'exec nsenter -m -t 1 sh -c "$loop" vmops "$@"; }; '
    'eval "$loop"'
)
"""Runs the loop where the worker's own processes live. A login that has its mounts for itself would
make a log's file system which no other login sees."""

_AHEAD = (
    "first=$1; shift; exec 3<&0; read -r up rest </proc/uptime; "
    '{ printf %s "$first" | base64 -d 2>/dev/null; cat <&3 2>/dev/null & } '
    '| { exec 3<&-; exec "$@" "$up"; }'
)
"""Puts a first message, in base64, ahead of what comes on standard input.

sshd takes no input for a command before it has said that it runs: what goes with the command saves
that round trip. It does not become part of sudo's own command line, which sudo writes to the log,
and which sudo 1.9.13 with `log_subcmds` kills when it is longer than 4 KB.

Rust's base64 complains where nobody reads on, and that would be told in the place of sudo's words.
The `cat` is in the background, so that sudo's own end is waited for and not that of the input.
"""

FIRST_MESSAGE_BYTES = 60_000
"""What goes with the command: in base64 it has to stay below the 131,071 bytes of an argument."""


class RootAccess:
    """The way to root for one login. `command` starts the loop; `password` is its first input.

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
            words += ["sudo", *asks, "-u", "root"]
        check = "" if is_root else _IS_ROOT
        words += ["sh", "-c", check + _AMONG_ALL, "vmops", _LOOP]
        given = shlex.join([_FROM_STDIN, self.keyword])
        self._line = f'{shlex.join(words)} "$HOME" "$USER" {given}'

    def command(self) -> str:
        """The command that starts the loop. Its input is to come when it `is_asking` no more."""
        return f"{_SAY_HELLO}; exec {self._line}"

    def command_with(self, message: bytes, within_s: int) -> str:
        """The command that starts the loop with this as the beginning of its input.

        A loop that does not come within that time reads nothing of it.
        """
        words = ["sh", "-c", _AHEAD, "vmops", b64encode(message).decode()]
        return f"{_SAY_HELLO}; exec {shlex.join(words)} {self._line} {within_s}"

    def is_asking(self, stdout: bytes | bytearray, stderr: bytes | bytearray) -> bool:
        """True until the loop is there. Raises WorkFailed when sudo asks a second time."""
        if stderr.count(self._prompt.encode()) > 1:
            raise refusal(self._endpoint, b"", b"sudo: incorrect password", None)
        return READY not in stdout

    def uptime(self, stdout: bytes | bytearray) -> float | None:
        """The machine's, in seconds, when the loop began; None where it did not say."""
        found = _UPTIME.search(stdout)
        return float(found[1]) if found else None

    def refused(self, stdout: bytes, stderr: bytes, exit_code: int | None) -> WorkFailed:
        """Why the loop did not start, from what was said instead."""
        return refusal(self._endpoint, stdout, self._without_prompt(stderr), exit_code)

    def _without_prompt(self, stderr: bytes) -> bytes:
        return stderr.replace(self._prompt.encode(), b"")
