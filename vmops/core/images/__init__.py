"""Images: what they are called on a worker, and how one is sent there."""
