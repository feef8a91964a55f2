"""The ways out by the word that names each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from vmops.core.plan.export.incus import incus
from vmops.core.plan.export.leaving import Exported, Leaving
from vmops.core.plan.export.libvirt import libvirt
from vmops.core.plan.export.ovn import networks
from vmops.core.plan.export.proxmox import proxmox
from vmops.core.plan.export.script import script

FORMATS: Mapping[str, Callable[[Leaving], Exported]] = MappingProxyType(
    {"libvirt": libvirt, "proxmox": proxmox, "incus": incus, "script": script, "ovn": networks}
)
