"""Decisions about networks: what their nodes are to make, change and remove."""
