"""Images between two generated ones: the noise is interpolated, the velocity fields are blended.

`LabelFlow` also says of which labels its samples are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.flow.conditions import ConditionOf, example_uniforms
from pinxit.models.flow.guidance import default_guidance
from pinxit.models.flow.inversion import InvertibleFlow
from pinxit.models.flow.path import Field, Times, X
from pinxit.models.flow.tasks import Task
from pinxit.models.generation import GenerationParams


class MorphingFlow(InvertibleFlow):
    """A flow that generates what lies between two samples, or two captions."""

    def between_samples(
        self, noise: np.ndarray, weights: np.ndarray, seeds: tuple[int, int]
    ) -> Images:
        """Generate images between the first samples of two seeds: at weights from 0 to 1.

        Image i follows (1 - w) v_a + w v_b, the fields of the conditions of both samples, from
        noise `[n, *noise_shape]`: with the noise of a seed and its weight it is that sample.
        """
        params = [self._params_of(seed) for seed in seeds]
        ends = [self._condition_of_samples(1, one, None) for one in params]
        return self._generate_between(noise, weights, ends, params[0])

    def between_texts(
        self,
        noise: np.ndarray,
        weights: np.ndarray,
        texts: tuple[str, str],
        language: str | None = None,
    ) -> Images:
        """Generate images between the drawings of two captions, as `between_samples` does.

        Raises UsageError for a model without captions, and for a text that `draw` refuses.
        """
        reader = self.conditions.captions
        if reader is None:
            raise UsageError("this run has no captions: it interpolates between seeds or images.")
        checked = reader.text.check(texts, language)
        both = self.conditions.of_text_rows(checked, self.network)
        ends = [lambda rows, k=k: both(torch.full_like(rows, k)) for k in range(2)]
        return self._generate_between(noise, weights, ends, self._params_of(0))

    def _params_of(self, seed: int) -> GenerationParams:
        return GenerationParams(seed=seed, guidance=default_guidance(self.config))

    @torch.inference_mode()
    def _generate_between(
        self,
        noise: np.ndarray,
        weights: np.ndarray,
        ends: Sequence[ConditionOf],
        params: GenerationParams,
    ) -> Images:
        """Generate the images one by one: each has a field of its own."""
        images = []
        row = torch.zeros(1, dtype=torch.int64)
        rows = torch.from_numpy(np.asarray(noise, np.float32)).to(self.device)
        for one, weight in zip(rows, weights.tolist(), strict=True):
            first, second = (self._field_of_rows(row, end, params, None) for end in ends)
            blended = blend_fields(first, second, weight)
            *_, latents = Task().solve(blended, one[None], params)
            images.append(Images(self.codec.decode(latents).cpu().numpy()))
        return Images.concatenate(images)


class LabelFlow(MorphingFlow):
    """A flow that is conditioned on labels."""

    def labels_of_samples(self, n: int, params: GenerationParams) -> list[str | None] | None:
        """Return the label of each image of `sample`; [] with a guidance of 0, which ignores it.

        None for a label that the training image lacked; for all in a run that kept no labels.
        """
        if params.guidance == 0:
            return []
        chosen = self.conditions.choose_examples(example_uniforms(n, params))
        names = self.info.label_names
        return [names[label] if label >= 0 else None for label in chosen] or None


def blend_fields(first: Field, second: Field, weight: float) -> Field:
    """Return (1 - w) v_a + w v_b; at the ends a single field is evaluated."""
    if weight in (0, 1):
        return second if weight else first

    def follow(x: X, t: Times) -> X:
        return (1 - weight) * first(x, t) + weight * second(x, t)

    return follow
