"""Settings that every test shares."""

from hypothesis import settings

# Deadlines measure the machine, not the code.
settings.register_profile("seqmend", deadline=None, max_examples=60)
settings.load_profile("seqmend")
