"""Seeing networks from the command line: who reaches whom, what passes, and ways to guests."""
