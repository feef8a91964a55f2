"""For all rings: property tests are held to no time for one example, the machine may be busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("vmops", deadline=None)
settings.load_profile("vmops")
