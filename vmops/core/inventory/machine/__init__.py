"""What hosts.toml says of a VM's machine: what it boots, and what QEMU is told besides."""
