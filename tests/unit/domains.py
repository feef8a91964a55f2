"""Domains of libvirt's such as people have."""

from __future__ import annotations

# As virt-install makes one on Ubuntu, in libvirt's own network.
USUAL = """
<domain type='kvm'>
  <name>jammy</name>
  <uuid>5f9ae4a5-8ea0-43a3-8c4a-0e7b37f2d9c4</uuid>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
      <libosinfo:os id="http://ubuntu.com/ubuntu/22.04"/>
    </libosinfo:libosinfo>
  </metadata>
  <memory unit='KiB'>2097152</memory>
  <currentMemory unit='KiB'>2097152</currentMemory>
  <vcpu placement='static'>2</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-jammy'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features><acpi/><apic/><vmport state='off'/></features>
  <cpu mode='host-passthrough' check='none' migratable='on'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='/var/lib/libvirt/images/jammy.qcow2'/>
      <target dev='vda' bus='virtio'/>
      <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>
    </disk>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/>
      <target dev='sda' bus='sata'/>
      <readonly/>
    </disk>
    <controller type='usb' index='0' model='qemu-xhci' ports='15'/>
    <interface type='network'>
      <mac address='52:54:00:6b:3c:58'/>
      <source network='default'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'><target type='isa-serial' port='0'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc' port='-1' autoport='yes' listen='0.0.0.0'/>
    <video><model type='virtio' heads='1' primary='yes'/></video>
    <memballoon model='virtio'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
"""


# On Open vSwitch, with UEFI, LVM below it and a second disk.
ON_LVM = """
<domain type='kvm' id='7'>
  <name>db-1</name>
  <memory unit='GiB'>8</memory>
  <vcpu>4</vcpu>
  <os firmware='efi'>
    <type machine='q35'>hvm</type>
    <loader readonly='yes' secure='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.ms.fd</loader>
    <nvram>/var/lib/libvirt/qemu/nvram/db-1_VARS.fd</nvram>
  </os>
  <cpu mode='custom' match='exact'>
    <model fallback='allow'>Skylake-Server-IBRS</model>
    <topology sockets='1' dies='1' cores='2' threads='2'/>
    <feature policy='require' name='md-clear'/>
    <feature policy='disable' name='hle'/>
  </cpu>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file="/srv/the data's.img"/>
      <target dev='sdb' bus='scsi'/>
      <boot order='2'/>
    </disk>
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw'/>
      <source dev='/dev/vg0/db-1'/>
      <target dev='sda' bus='scsi'/>
      <boot order='1'/>
    </disk>
    <interface type='bridge'>
      <mac address='52:54:00:AA:00:01'/>
      <source bridge='ovsbr0'/>
      <vlan trunk='yes'>
        <tag id='100' nativeMode='untagged'/>
        <tag id='200'/>
        <tag id='300'/>
      </vlan>
      <virtualport type='openvswitch'>
        <parameters interfaceid='09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f'/>
      </virtualport>
      <target dev='vnet12'/>
      <model type='virtio'/>
    </interface>
    <interface type='bridge'>
      <mac address='52:54:00:aa:00:02'/>
      <source bridge='ovsbr0'/>
      <vlan><tag id='42'/></vlan>
      <virtualport type='openvswitch'/>
    </interface>
    <graphics type='vnc' port='5907' autoport='no' listen='127.0.0.1'/>
  </devices>
</domain>
"""


# A desktop with much that has no word here.
DESKTOP = """
<domain type="kvm" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
  <name>win11</name>
  <memory unit="bytes">4294967297</memory>
  <vcpu current="1">2</vcpu>
  <os><type arch="x86_64" machine="pc-q35-7.2">hvm</type></os>
  <cpu mode="host-model"/>
  <devices>
    <disk type="file" device="cdrom">
      <driver name="qemu" type="raw"/>
      <source file="/isos/win11.iso"/>
      <target dev="sdb" bus="sata"/>
      <boot order="1"/>
    </disk>
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2"/>
      <source file="/home/me/win11.qcow2"/>
      <target dev="sda" bus="sata"/>
      <boot order="2"/>
    </disk>
    <disk type="file" device="floppy"><target dev="fda" bus="fdc"/></disk>
    <interface type="user"><mac address="52:54:00:aa:00:03"/><model type="ne2k_pci"/></interface>
    <graphics type="spice" autoport="yes"/>
    <sound model="ich9"/>
    <tpm model="tpm-crb"><backend type="emulator" version="2.0"/></tpm>
    <hostdev mode="subsystem" type="pci" managed="yes"/>
    <hostdev mode="subsystem" type="usb"/>
  </devices>
  <qemu:commandline>
    <qemu:arg value="-fw_cfg"/>
    <qemu:arg value="file=/etc/shadow"/>
  </qemu:commandline>
</domain>
"""
