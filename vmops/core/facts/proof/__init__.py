"""Questions that prove a network."""
