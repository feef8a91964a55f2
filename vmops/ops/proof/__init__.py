"""Proving networks, looking into them, and ways to guests."""
