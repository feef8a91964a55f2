"""Steps to one POSIX script, and what it printed back to results."""
