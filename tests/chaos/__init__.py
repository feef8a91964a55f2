"""Every operation that changes a worker, cut at every point, and what must hold whatever happens.

`scripts/chaos` runs it whole, test_sample.py a seeded part of it; docs/reliability.md has figures.
"""
