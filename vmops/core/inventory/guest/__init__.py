"""What hosts.toml says of the software inside a VM: its addresses, its users, its first boot."""
