"""A tool a module: the commands that vmops gives it, and the reading of its answers."""
