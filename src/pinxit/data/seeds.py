"""The seeds that every command takes."""

from __future__ import annotations

from pinxit.errors import UsageError

MAX_SEED = 2**63 - 1  # of generators in PyTorch


def check_seed(seed: int, name: str = "seed") -> None:
    """Raise UsageError for a seed that some generator of random numbers does not take."""
    if seed < 0:
        raise UsageError(f"{name} must be 0 or more, not {seed}.")
    if seed > MAX_SEED:
        raise UsageError(f"{name} must be below 2^63, not {seed}.")
