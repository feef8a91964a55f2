"""The ways to start and stop the same VMs: one module for each family."""
