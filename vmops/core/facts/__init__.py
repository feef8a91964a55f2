"""What is asked of a worker, and how each answer is read."""
