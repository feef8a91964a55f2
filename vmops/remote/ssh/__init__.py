"""The SSH connection to a worker: where to, as whom, host keys, login, transport."""
