"""The serial port: a socket for one client, and a log of what it printed."""

from __future__ import annotations

from vmops.core.names import RunDirectory


def words(vm: str) -> tuple[str, ...]:
    """The port and its chardev. What is logged is logged whether somebody is connected or not."""
    run = RunDirectory(vm)
    return (
        "-chardev",
        f"socket,id=console,path={run.console},server=on,wait=off,"
        f"logfile={run.console_log},logappend=on",
        *("-serial", "chardev:console"),
    )
