"""How tokens are drawn from scores: temperature, top-k, top-p, and chance by image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.errors import UsageError


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are drawn. Raises UsageError for numbers that cannot be."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    @classmethod
    def of(cls, params: Any) -> SamplingParams:
        """Those of resolved `GenerationParams`."""
        return cls(params.temperature, params.top_k, params.top_p)

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise UsageError(f"temperature must be 0 or more, not {self.temperature}.")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k must be at least 1, not {self.top_k}.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is above 0 and at most 1, not {self.top_p}.")

    def filtered_probs(self, scores: Float[Tensor, "... colors"]) -> Float[Tensor, "... colors"]:
        """What is drawn from, of scores; `temperature` above 0."""
        scores = scores.float() / self.temperature
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            least = scores.topk(self.top_k, -1).values[..., -1:]
            scores = scores.masked_fill(scores < least, -math.inf)
        p = scores.softmax(-1)
        if self.top_p is None or self.top_p == 1:
            return p
        ranked, order = p.sort(-1, descending=True)
        beyond = ranked.cumsum(-1) - ranked >= self.top_p  # the likeliest is never beyond
        return p.masked_fill(beyond.scatter(-1, order, beyond), 0)

    def sample(
        self, scores: Float[Tensor, "... colors"], chance: Float[Tensor, ...]
    ) -> Int64[Tensor, ...]:
        """A token each: the likeliest at temperature 0, else where `chance` falls."""
        if self.temperature == 0:
            return scores.argmax(-1)
        upto = self.filtered_probs(scores).cumsum(-1)
        return (upto <= chance[..., None] * upto[..., -1:]).sum(-1)
