"""What ssh_config says about a name: asked of OpenSSH's client, or read here without one."""
