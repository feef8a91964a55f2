"""Virtual machines on VLANs, on any Linux hosts with QEMU, Open vSwitch and sshd.

The public names are loaded when they are first used: `import vmops` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmops.core.inventory.guest.cloud_init import CloudInit, Login
    from vmops.core.inventory.inventory import Inventory
    from vmops.core.inventory.model import VM, Disk, Interface, Nic, Settings, Worker
    from vmops.core.plan.status import VMStatus
    from vmops.errors import (
        CommandFailed,
        CommandTimeout,
        ConnectionLost,
        FleetFailed,
        HostKeyRefused,
        InventoryError,
        LaunchFailed,
        LoginRefused,
        MonitorError,
        NotAsked,
        NotRunning,
        PortConflict,
        StopTimeout,
        UnexpectedOutput,
        VmopsError,
        WorkerUnreachable,
        WorkFailed,
    )
    from vmops.fleet import Fleet
    from vmops.inventory_file import load
    from vmops.ops.vm.changes import Change
    from vmops.ops.vm.outcome import Outcome
    from vmops.ops.worker.doctor import Health
    from vmops.ops.worker.run import Ended
    from vmops.remote_executor import RemoteExecutor
    from vmops.results import Result, raise_for_errors
    from vmops.vm_launcher import VMLauncher

__version__ = "0.1.0"

_HOMES = {
    "Inventory": "vmops.core.inventory.inventory",
    **dict.fromkeys(
        ("VM", "Disk", "Interface", "Nic", "Settings", "Worker"), "vmops.core.inventory.model"
    ),
    **dict.fromkeys(
        (
            "CommandFailed",
            "CommandTimeout",
            "ConnectionLost",
            "FleetFailed",
            "HostKeyRefused",
            "InventoryError",
            "LaunchFailed",
            "LoginRefused",
            "MonitorError",
            "NotAsked",
            "NotRunning",
            "PortConflict",
            "StopTimeout",
            "UnexpectedOutput",
            "VmopsError",
            "WorkerUnreachable",
            "WorkFailed",
        ),
        "vmops.errors",
    ),
    **dict.fromkeys(("CloudInit", "Login"), "vmops.core.inventory.guest.cloud_init"),
    "Fleet": "vmops.fleet",
    **dict.fromkeys(("Result", "raise_for_errors"), "vmops.results"),
    "Change": "vmops.ops.vm.changes",
    "Ended": "vmops.ops.worker.run",
    "Health": "vmops.ops.worker.doctor",
    "Outcome": "vmops.ops.vm.outcome",
    "VMStatus": "vmops.core.plan.status",
    "load": "vmops.inventory_file",
    "RemoteExecutor": "vmops.remote_executor",
    "VMLauncher": "vmops.vm_launcher",
}

__all__ = [
    "VM",
    "Change",
    "CloudInit",
    "CommandFailed",
    "CommandTimeout",
    "ConnectionLost",
    "Disk",
    "Ended",
    "Fleet",
    "FleetFailed",
    "Health",
    "HostKeyRefused",
    "Interface",
    "Inventory",
    "InventoryError",
    "LaunchFailed",
    "Login",
    "LoginRefused",
    "MonitorError",
    "Nic",
    "NotAsked",
    "NotRunning",
    "Outcome",
    "PortConflict",
    "RemoteExecutor",
    "Result",
    "Settings",
    "StopTimeout",
    "UnexpectedOutput",
    "VMLauncher",
    "VMStatus",
    "VmopsError",
    "WorkFailed",
    "Worker",
    "WorkerUnreachable",
    "load",
    "raise_for_errors",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vmops' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
