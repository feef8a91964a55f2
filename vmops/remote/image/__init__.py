"""Images brought to a worker: over channels of programs there, that end with them."""
