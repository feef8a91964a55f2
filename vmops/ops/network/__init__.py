"""Ordered work on the networks of one node."""
