"""What tunnels between the workers of a lab begin at, and OVN, which makes some."""
