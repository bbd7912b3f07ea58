"""How hard property tests try: `make test` a little, `make soak` fifty times as much."""

import os

EFFORT = int(os.environ.get("CLARION_EFFORT", "1"))


def examples(usual: int) -> int:
    """Return how many examples a property test tries, where `usual` are enough for every day."""
    return usual * EFFORT
