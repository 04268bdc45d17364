"""The machine may be busy with other things: how long one example takes says nothing."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
