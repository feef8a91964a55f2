"""The daemons of a worker: how each is started, and where it leaves its PID."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OVS_RUN = "/run/openvswitch"
OVS_LOG = "/var/log/openvswitch"
DATABASE = "/var/lib/openvswitch/conf.db"

_DETACHED = ("--detach", "--pidfile", "-vsyslog:off", "-vconsole:warn")


DaemonName = Literal["sshd", "ovsdb-server", "ovs-vswitchd"]


@dataclass(frozen=True, slots=True)
class Daemon:
    """A program that goes to the background. Open vSwitch's do so when they are ready."""

    argv: tuple[str, ...]
    pidfile: str


DAEMONS: dict[DaemonName, Daemon] = {
    "sshd": Daemon(
        argv=("/usr/sbin/sshd", "-E", "/var/log/sshd.log"),
        pidfile="/run/sshd.pid",
    ),
    "ovsdb-server": Daemon(
        argv=(
            "ovsdb-server",
            *_DETACHED,
            f"--log-file={OVS_LOG}/ovsdb-server.log",
            f"--remote=punix:{OVS_RUN}/db.sock",
            DATABASE,
        ),
        pidfile=f"{OVS_RUN}/ovsdb-server.pid",
    ),
    "ovs-vswitchd": Daemon(
        argv=(
            "ovs-vswitchd",
            *_DETACHED,
            f"--log-file={OVS_LOG}/ovs-vswitchd.log",
            f"unix:{OVS_RUN}/db.sock",
        ),
        pidfile=f"{OVS_RUN}/ovs-vswitchd.pid",
    ),
}
