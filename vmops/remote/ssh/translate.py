"""What goes wrong on the way to a worker, or on it, in the words of `vmops.errors`.

The only place that reads the exceptions of paramiko and of sockets.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import paramiko

from vmops.errors import (
    CommandTimeout,
    ConnectionLost,
    LoginRefused,
    VmopsError,
    WorkerUnreachable,
    WorkFailed,
)
from vmops.remote.ssh.bridge import FAILURES
from vmops.remote.ssh.endpoint import Endpoint
from vmops.remote.ssh.transport import NoBanner, OpeningTimeout


class ChannelRefused(WorkFailed):
    """sshd did not open a channel: too many sessions, or nothing there that it could connect to."""

    def __init__(self, worker: str, reason: str) -> None:
        super().__init__(
            f"sshd refuses another session: {reason.lower()}",
            worker=worker,
            cure="raise MaxSessions in its sshd_config, or see its log",
        )
        self.reason = reason.lower()


_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)


_PENALTY = "Not allowed at this time"
"""What a newer sshd (that of Debian 13, say) says and hangs up: to an address with a penalty, and
where too many are logging in."""

_LONGEST_QUOTE = 100

_LATE_LOGIN = "Authentication timeout"


def was_dropped(error: Exception) -> bool:
    """True when the peer hung up before it said who it is: sshd with too many logins under way."""
    if isinstance(error, NoBanner):
        return error.hung_up
    if isinstance(error, paramiko.SSHException):
        return "protocol banner" in str(error) and "timed out" not in str(error)
    return isinstance(error, (EOFError, ConnectionResetError, BrokenPipeError))


class Tried(NamedTuple):
    """A login that failed: what was offered, in words for people.

    `wanted_more` is what the worker asked for on top of a key that it took; `accepted` the ways to
    log in that it named when it would not have a key at all.
    """

    offered: Sequence[str] = ()
    wanted_more: Sequence[str] = ()
    accepted: Sequence[str] = ()


NOTHING = Tried()


def unreachable(endpoint: Endpoint, error: Exception, tried: Tried = NOTHING) -> WorkerUnreachable:
    """A failure between the first packet and the login."""
    at = f"{endpoint.host} " if endpoint.host != endpoint.label else ""
    where = f"{at}port {endpoint.port}"
    if _is_refusal(error, tried.offered):
        return _login_refused(endpoint, tried)
    what, cure = _what_failed(endpoint, where, error)
    return WorkerUnreachable(what, worker=endpoint.label, cure=cure)


def _is_refusal(error: Exception, offered: Sequence[str]) -> bool:
    """sshd may hang up on whoever offers too much instead of refusing it."""
    if isinstance(error, paramiko.AuthenticationException):
        return not _says_nothing(error)
    return bool(offered) and isinstance(error, (paramiko.SSHException, EOFError))


def _login_refused(endpoint: Endpoint, tried: Tried) -> LoginRefused:
    offered = ", ".join(tried.offered) or "nothing: no key, no agent, no password"
    if tried.wanted_more or (tried.accepted and "publickey" not in tried.accepted):
        wanted = " or ".join(tried.wanted_more or tried.accepted)
        took = "takes the key and then wants" if tried.wanted_more else "takes no key, but wants"
        return LoginRefused(
            f"{endpoint.host} {took} {wanted} of {endpoint.user}; offered: {offered}",
            worker=endpoint.label,
            cure="where that is a password: --prompt-for-login-password; for another second factor:"
            f' let a key do for this user, "Match User {endpoint.user}" with "AuthenticationMethods'
            ' publickey" in its sshd_config',
        )
    return LoginRefused(
        f"{endpoint.host} refused the login of {endpoint.user}; offered: {offered}",
        worker=endpoint.label,
        cure=f"put a key of yours into ~{endpoint.user}/.ssh/authorized_keys there (ssh-copy-id),"
        " or name another with -i, identity_file or user",
    )


def _what_failed(endpoint: Endpoint, where: str, error: Exception) -> tuple[str, str]:
    """What happened and what to do about it."""
    if isinstance(error, socket.gaierror):
        return (
            f"the name {endpoint.host} cannot be resolved: {error.strerror}",
            "check the worker's address in hosts.toml, or ssh_config",
        )
    if isinstance(error, ConnectionRefusedError):
        return f"{where} refuses connections", "is sshd running there, and is the port right?"
    if isinstance(error, (TimeoutError, OpeningTimeout)):
        return (
            f"no answer from {where} within {endpoint.connect_limit:g} s",
            "is the worker up, is the address right, is a firewall in between?",
        )
    if isinstance(error, OSError) and error.errno in _NO_ROUTE:
        return f"{where} cannot be reached: {error.strerror}", "check the address and the network"
    if isinstance(error, paramiko.ChannelException):
        return f"the gateway cannot reach {where}: {error.text}", "check address and gateway"
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return f"{where} has no algorithm in common with us: {error}", "update its sshd"
    said = error.said if isinstance(error, NoBanner) else ""
    if _PENALTY in said:
        return (
            f"{where} turns this machine away: {_PENALTY}",
            "too many logins at once (MaxStartups), or a penalty for failed ones"
            " (PerSourcePenalties): wait a minute or more, or allow more in its sshd_config",
        )
    if said:
        return (
            f"{where} gives no SSH banner, but says: {said[:_LONGEST_QUOTE]!r}",
            "too many logins at once (MaxStartups), or no sshd on that port",
        )
    if isinstance(endpoint.via, str) and was_dropped(error):
        return f"the ProxyCommand ended: {endpoint.via}", "try that command by hand"
    if was_dropped(error):
        return (
            f"{where} hung up before the login, every time",
            "too many logins at once (MaxStartups), a ban, or no sshd on that port",
        )
    if _LATE_LOGIN in str(error):
        return (
            f"{where} does not answer the login within {endpoint.login_limit:g} s",
            "allow more with -t SECONDS; what holds it up: PAM, a directory, DNS (UseDNS)?",
        )
    if isinstance(error, paramiko.SSHException) and _says_nothing(error):
        return (
            f"{where} takes the connection and then says nothing for {endpoint.connect_limit:g} s",
            "is it sshd that listens on that port, and is the worker overloaded?",
        )
    return f"the connection to {where} failed: {_said(error)}", ""


def _says_nothing(error: paramiko.SSHException) -> bool:
    """paramiko gives up on a silent peer in one of these ways."""
    ways = ("protocol banner", "No existing session", _LATE_LOGIN)
    return any(way in str(error) for way in ways)


@contextmanager
def working(worker: str) -> Iterator[None]:
    """Inside, a failure of the connection is a ConnectionLost of `worker`.

    A channel that sshd refuses is a ChannelRefused, one that it does not open in time, a
    CommandTimeout.
    """
    try:
        yield
    except VmopsError:
        raise
    except paramiko.ChannelException as error:
        raise ChannelRefused(worker, error.text) from error
    except OpeningTimeout as error:
        cure = "it is busy, or far away: try again, or allow more time"
        raise CommandTimeout(str(error), worker=worker, cure=cure) from error
    except FAILURES as error:
        raise lost(worker, error) from error


def lost(worker: str, error: Exception | None = None) -> ConnectionLost:
    """The connection died while something was under way."""
    reason = f": {_said(error)}" if error is not None else ""
    return ConnectionLost(
        f"the connection was lost{reason}",
        worker=worker,
        cure="what was under way may or may not be done: check with status, then try again",
    )


def _said(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "it hung up"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
