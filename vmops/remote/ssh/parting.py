"""What sshd says when it ends a connection: paramiko only logs it."""

from __future__ import annotations

from typing import Any

import paramiko
from paramiko.transport import ServiceRequestingTransport

_LONGEST = 200
"""Characters of it that are told."""


class Parted(paramiko.SSHException):
    """sshd has ended the connection, and said why."""


class Parting(ServiceRequestingTransport):
    """A transport whose end comes with those words, for whoever asks how it ended.

    Until the login has succeeded paramiko's own errors say more.
    """

    saved_exception: Any

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        code = message.get_int()
        said = message.get_string().decode(errors="replace")[:_LONGEST].strip()
        if self.is_authenticated():
            self.saved_exception = Parted(f"sshd said: {said or f'code {code}'}")
