"""Where VMs may be placed, as hosts.toml says it."""
