"""Sample tokens from logits: temperature, top-k and top-p, with given uniform numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from pinxit.errors import UsageError

MIN_TEMPERATURE = 1e-37  # a smaller one would be 0 in float32, and its inverse infinite


class TokenOptions(Protocol):
    """The generation parameters that token sampling uses."""

    @property
    def temperature(self) -> float | None: ...
    @property
    def top_k(self) -> int | None: ...
    @property
    def top_p(self) -> float | None: ...


@dataclass(frozen=True)
class SamplingParams:
    """Parameters of token sampling. Raises UsageError for a value out of range."""

    temperature: float = 1.0
    top_k: int | None = None  # keep the K most likely tokens
    top_p: float | None = None  # nucleus: the smallest set whose probabilities sum to P

    @classmethod
    def from_options(cls, options: TokenOptions) -> SamplingParams:
        """Copy temperature, top_k and top_p; `temperature` must not be None."""
        assert options.temperature is not None, "a resolved temperature"
        return cls(options.temperature, options.top_k, options.top_p)

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise UsageError(f"temperature must be 0 or more, not {self.temperature}.")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k must be at least 1, not {self.top_k}.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"top_p must be above 0 and at most 1, not {self.top_p}.")

    def compute_filtered_weights(
        self, logits: Float[Tensor, "... vocab"]
    ) -> Float[Tensor, "... vocab"]:
        """Return unnormalized probabilities after temperature (above 0), top-k and top-p.

        After top-p they sum to less than 1; `sample` divides by the sum.
        """
        logits = logits.float()
        if self.temperature != 1:
            logits = logits - logits.amax(-1, keepdim=True)  # none overflows above 0
            logits = logits / min(max(self.temperature, MIN_TEMPERATURE), 1 / MIN_TEMPERATURE)
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            logits = logits.masked_fill(~_is_top_k(logits, self.top_k), -math.inf)
        probs = logits.softmax(-1)
        if self.top_p is None or self.top_p == 1:
            return probs
        ranked, order = probs.sort(-1, descending=True)
        outside = ranked.cumsum(-1) - ranked >= self.top_p  # the most likely token stays
        return probs.masked_fill(outside.scatter(-1, order, outside), 0)

    def sample(
        self, logits: Float[Tensor, "... vocab"], uniforms: Float[Tensor, ...]
    ) -> Int64[Tensor, ...]:
        """Sample one token per row by inverse transform sampling; argmax at temperature 0."""
        if self.temperature == 0:
            return logits.argmax(-1)
        cdf = self.compute_filtered_weights(logits).cumsum(-1)
        return (cdf <= uniforms[..., None] * cdf[..., -1:]).sum(-1)


def _is_top_k(logits: Float[Tensor, "... vocab"], k: int) -> Bool[Tensor, "... vocab"]:
    """Whether a token is one of the k most likely; of equally likely ones the first are."""
    threshold = logits.topk(k, -1).values[..., -1:]
    is_above, is_equal = logits > threshold, logits == threshold
    room = k - is_above.sum(-1, keepdim=True)
    return is_above | (is_equal & (is_equal.cumsum(-1) <= room))
