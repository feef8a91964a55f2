"""Plans for a VM that runs, and goes on running."""
