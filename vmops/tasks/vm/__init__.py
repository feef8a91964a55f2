"""VMs from the command line."""
