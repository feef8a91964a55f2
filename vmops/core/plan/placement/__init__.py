"""Which worker a VM is placed on where hosts.toml does not say it."""
