"""The port by which a VM's guest agent is reached, where the guest has one."""

from __future__ import annotations

from vmops.core.inventory.model import VM
from vmops.core.names import RunDirectory
from vmops.core.tools import qemu

LABEL = "agent"
"""What QEMU calls the port's other end."""

PORT = "org.qemu.guest_agent.0"
"""What every guest agent looks for."""


def words(vm: VM) -> tuple[str, ...]:
    """The port, for a VM that has an image: the documented machine has none.

    Its socket stays root's: whoever may talk to an agent is root in that guest.
    """
    if vm.image is None:
        return ()
    path = RunDirectory(vm.name).agent
    return (
        *("-chardev", f"socket,id={LABEL},path={path},server=on,wait=off"),
        *("-device", "virtio-serial-pci,id=agent-bus"),
        *("-device", f"virtserialport,bus=agent-bus.0,chardev={LABEL},name={PORT}"),
    )


def is_there(found: qemu.Options) -> bool:
    """True where a command line has the port."""
    return any(device.get("name") == PORT for device in qemu.every(found, "device"))
