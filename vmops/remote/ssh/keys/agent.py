"""The SSH agent, asked with a time limit: one that says nothing must not hold up a login."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import paramiko
from paramiko.agent import AgentSSH

LIST_LIMIT_S = 5.0
"""Which keys it has, an agent knows at once."""

SIGN_LIMIT_S = 60.0
"""It may ask its owner first, for a touch or a yes."""

_LARGEST_ANSWER = 2**20
"""Bytes: ssh itself takes 256 kB."""


class Agent(AgentSSH):
    """The agent behind a UNIX socket. `trouble` says why it is of no use, empty where it is."""

    _conn: Any
    if TYPE_CHECKING:

        def _connect(self, conn: socket.socket) -> None: ...
        def _close(self) -> None: ...

    def __init__(self, path: str, list_limit: float = LIST_LIMIT_S) -> None:
        super().__init__()
        self.trouble = ""
        if not path:
            return
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        limit = min(LIST_LIMIT_S, list_limit)
        connected.settimeout(limit)
        try:
            connected.connect(path)
            self._connect(connected)
            connected.settimeout(SIGN_LIMIT_S)
        except TimeoutError:
            self._give_up(f"the agent (no answer within {limit:g} s)")
        except (FileNotFoundError, ConnectionRefusedError):
            self._give_up("")
        except Exception as error:  # what an agent sends that is none
            self._give_up(f"the agent (of no use: {error})")
        if self._conn is None:
            connected.close()

    def _give_up(self, trouble: str) -> None:
        self.trouble = trouble
        self._close()

    def _read_all(self, wanted: int) -> bytes:
        if wanted > _LARGEST_ANSWER:
            raise paramiko.SSHException(f"it answers with {wanted} bytes")
        found = b""
        while len(found) < wanted:
            data = self._conn.recv(wanted - len(found))
            if not data:
                raise paramiko.SSHException("it hung up")
            found += data
        return found

    def close(self) -> None:
        """Leave it."""
        with suppress(OSError):
            self._close()
