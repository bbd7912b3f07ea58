"""What holds for every property test: as many examples as the effort asks for, and no stopwatch."""

from hypothesis import settings
from tests.effort import examples

# How long an example takes says more about the machine than about the code.
settings.register_profile("clarion", max_examples=examples(100), deadline=None)
settings.load_profile("clarion")
