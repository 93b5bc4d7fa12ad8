"""The seeds that every command takes."""

from __future__ import annotations

from numbers import Integral

from pinxit.errors import UsageError

MAX_SEED = 2**63 - 1  # of generators in PyTorch


def check_seed(seed: object, name: str = "seed") -> None:
    """Raise UsageError for a seed that some generator of random numbers does not take."""
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise UsageError(f"{name} is an integer, not {seed!r}.")
    number = int(seed)
    if number < 0:
        raise UsageError(f"{name} must be 0 or more, not {seed}.")
    if number > MAX_SEED:
        raise UsageError(f"{name} must be below 2^63, not {seed}.")
