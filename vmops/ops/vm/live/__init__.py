"""What changes a VM that runs, sets it aside, or takes it back."""
