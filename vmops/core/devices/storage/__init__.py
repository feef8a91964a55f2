"""What a VM keeps beside its first disk, and the room for all of it."""
