"""How texts are generated: by beam search, or sampled with a temperature. Imports no torch."""

from __future__ import annotations

from pinxit.errors import UsageError
from pinxit.models.generation import GenerationParams

NUM_BEAMS = 4
LENGTH_PENALTY = 0.6
MAX_LENGTH_PENALTY = 10  # above, the longest text wins whatever its probability


def resolve_beam_search(
    params: GenerationParams,
    num_beams: int | None = None,
    length_penalty: float | None = None,
    num_captions: int = 1,
) -> tuple[int, float]:
    """Return beam width and length penalty; None stands for the default.

    Raises UsageError for a value out of range, for options of beam search with a temperature, and
    for options of sampling without one.
    """
    if params.temperature is not None and (num_beams is not None or length_penalty is not None):
        raise UsageError(
            "num_beams and length_penalty are of beam search: with a temperature texts are sampled."
        )
    if params.temperature is None and (params.top_k is not None or params.top_p is not None):
        raise UsageError("top_k and top_p need temperature: beam search does not sample.")
    if params.temperature is None and params.seed != 0:
        raise UsageError("seed needs temperature: beam search does not sample.")
    for name, value in (("num_captions", num_captions), ("num_beams", num_beams)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be 1 or more, not {value}.")
    if num_beams is not None and num_captions > num_beams:
        raise UsageError(
            f"{num_captions} texts from {num_beams} beams: "
            f"num_beams must be {num_captions} or more."
        )
    check_length_penalty(length_penalty)
    return (
        max(NUM_BEAMS, num_captions) if num_beams is None else num_beams,
        LENGTH_PENALTY if length_penalty is None else length_penalty,
    )


def check_length_penalty(value: float | None) -> None:
    """Raise UsageError for a length penalty out of range."""
    if value is not None and not 0 <= value <= MAX_LENGTH_PENALTY:
        raise UsageError(f"length_penalty must be between 0 and {MAX_LENGTH_PENALTY}, not {value}.")
