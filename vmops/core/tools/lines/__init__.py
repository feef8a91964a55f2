"""Lines from one TAP to another: the tunnels they go through, the queues that impair them."""
