"""A VM in the words of another system, and a VM of libvirt's in the words of hosts.toml."""
