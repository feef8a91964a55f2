"""The worker itself: what it lacks, and commands on it."""
