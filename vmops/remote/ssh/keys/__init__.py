"""Keys: of hosts in known_hosts and certificates, of the operator in files and the agent."""
