"""Where VMs run, from the command line."""
