"""The daemons of a worker: how each is started, and where it leaves its PID."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OVS_RUN = "/run/openvswitch"
OVS_LOG = "/var/log/openvswitch"
DATABASE = "/var/lib/openvswitch/conf.db"

_DETACHED = ("--detach", "--pidfile", "-vsyslog:off", "-vconsole:warn")


OVN_RUN = "/run/ovn"
OVN_LIB = "/var/lib/ovn"
OVN_LOG = "/var/log/ovn"

DaemonName = Literal[
    "sshd",
    "ovsdb-server",
    "ovs-vswitchd",
    "ovn-controller",
    "ovn-northd",
    "northbound",
    "southbound",
]


@dataclass(frozen=True, slots=True)
class Daemon:
    """A program that goes to the background. Open vSwitch's do so when they are ready."""

    argv: tuple[str, ...]
    pidfile: str


def _central(word: str, database: str, tables: str) -> Daemon:
    """The database server of OVN's central for one of the two."""
    pidfile = f"{OVN_RUN}/ovn{word}_db.pid"
    return Daemon(
        argv=(
            "ovsdb-server",
            "--detach",
            f"--pidfile={pidfile}",
            "-vsyslog:off",
            "-vconsole:warn",
            f"--log-file={OVN_LOG}/{word}.log",
            f"--unixctl={OVN_RUN}/ovn{word}_db.ctl",
            f"--remote=punix:{OVN_RUN}/ovn{word}_db.sock",
            f"--remote=db:{database},{tables},connections",
            # As Debian's ovn-ctl does: keys for TLS are what somebody writes there.
            f"--private-key=db:{database},SSL,private_key",
            f"--certificate=db:{database},SSL,certificate",
            f"--ca-cert=db:{database},SSL,ca_cert",
            f"{OVN_LIB}/ovn{word}_db.db",
        ),
        pidfile=pidfile,
    )


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
    "northbound": _central("nb", "OVN_Northbound", "NB_Global"),
    "southbound": _central("sb", "OVN_Southbound", "SB_Global"),
    "ovn-northd": Daemon(
        argv=(
            "ovn-northd",
            *_DETACHED,
            f"--log-file={OVN_LOG}/ovn-northd.log",
        ),
        pidfile=f"{OVN_RUN}/ovn-northd.pid",
    ),
    "ovn-controller": Daemon(
        argv=(
            "ovn-controller",
            *_DETACHED,
            f"--log-file={OVN_LOG}/ovn-controller.log",
        ),
        pidfile=f"{OVN_RUN}/ovn-controller.pid",
    ),
}
