"""What a network node says of the networks that it serves."""
