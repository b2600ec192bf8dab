from __future__ import annotations

from hypothesis import settings

# Nothing is timed here: a slow machine is no error.
settings.register_profile("atproto", deadline=None)
settings.load_profile("atproto")
