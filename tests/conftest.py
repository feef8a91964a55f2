"""For all rings: signals and sizes are as on a terminal, and property tests are held to no time for
one example, the machine may be busy."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

settings.register_profile("vmops", deadline=None)
settings.load_profile("vmops")


def take_signals_as_a_terminal_gives_them() -> None:
    """Let children have the default action of what this process was started to ignore.

    A shell starts what it sends to the background with SIGINT and SIGQUIT ignored, nohup does so
    with SIGHUP, and every child inherits it. A signal that is handled is back at its default after
    exec, so a handler that does nothing keeps this process as it was asked to be.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


take_signals_as_a_terminal_gives_them()

# The workers of pytest-xdist have them, and they count for more than the size of a terminal.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
