"""The flow as a torch module: its loss, and generation by solving the differential equation."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor, nn

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.flow.clusters import Clusters
from pinxit.models.flow.conditions import ConditionEncoder, ConditionOf, example_uniforms
from pinxit.models.flow.config import Config
from pinxit.models.flow.guidance import (
    default_guidance,
    evaluation_batch_size,
    field_in_parts,
    field_with_guidance,
    split_rows,
)
from pinxit.models.flow.network import Condition, FlowTransformer, init_linear
from pinxit.models.flow.path import Field, Times, interpolate, sample_times, to_velocity
from pinxit.models.flow.shortcut import (
    DEFAULT_STEPS,
    StepCounts,
    check_shortcut,
    level_of,
    sample_steps,
    take_rows,
    two_half_steps,
)
from pinxit.models.flow.tasks import (
    NUM_STEPS,
    Rows,
    Task,
    Visible,
    fill_masked,
    join_visible,
    sample_visible,
)
from pinxit.models.generation import SEEDED, GenerationParams, resolve_params
from pinxit.models.inputs import check_guidance, check_images, check_mask, label_index
from pinxit.models.latent_codecs import FrozenVAE, Latents, PixelCodec, Pixels
from pinxit.models.results import Loss
from pinxit.nn.batch_share import batch_rand, batch_randn, count_first, count_last
from pinxit.nn.batching import map_in_fixed_batches
from pinxit.nn.palette import MID_GREY
from pinxit.nn.rng import per_image_normal

DRAW_BATCH = 16  # images that become clear together
COMPLETED = (*SEEDED, "steps", "solver")  # without a condition: guidance has no effect
SAMPLED = (*COMPLETED, "guidance")


class Flow(nn.Module):
    """condition, time and x_t -> velocity; images from noise by following it."""

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        super().__init__()
        assert config.width and config.heads and config.depth, "a resolved configuration"
        self.config, self.info = config, info
        self.codec = PixelCodec(info) if config.codec_spec is None else FrozenVAE(config.codec_spec)
        self.network = FlowTransformer(
            self.codec.shape,
            config.width,
            config.depth,
            config.heads,
            config.dropout,
            with_words=config.condition == "text",
            with_source=config.source == "image+text",
            with_visible=bool(config.mask_share),
        )
        self.conditions = ConditionEncoder(config, info)
        self.clusters = None
        if config.condition == "cluster":
            self.clusters = Clusters(self.codec.shape, config.num_clusters or 1)
        self.step_counts = StepCounts(config.width) if config.shortcut_share else None
        init_linear(self.network)

    preview_options: ClassVar[dict[str, Any]] = {"steps": 8}  # while it trains
    left_to_right = False

    @property
    def device(self) -> torch.device:
        return self.network.pos_embed.device

    @property
    def label_conditional(self) -> bool:
        """Whether images are generated from labels."""
        return self.config.condition == "label"

    def loss(self, batch: Batch, progress: float = 1.0) -> Loss:
        """The squared error of the velocity, the mean over latents and times (Lipman 2022, eq. 14).

        1 + Var(z) for a network that knows nothing; its minimum is not 0: many (e, z) pass a point.
        """
        data = self._sample_latents(batch)
        t = sample_times(len(data), data.device, self.config.time_mean, self.config.time_std)
        noise = batch_randn(*data.shape, device=data.device)
        x_t = interpolate(noise, data, t)
        if self.clusters is not None:
            batch = dataclasses.replace(batch, labels=self.clusters(_mean_latents(batch, data)))
        condition = self.conditions.of_batch(
            batch, self.network, training=self.training, num_visible=self._count_visible(data)
        )
        if batch.before is not None and self.network.with_source:
            condition = condition._replace(source=self._sample_source(batch.before))
        if self.training and self.config.mask_share:
            condition = condition._replace(visible=self._sample_visible(data))
        target = data - noise
        if self.training and self.step_counts is not None:
            x_t, t, condition, target = self._sample_shortcuts(x_t, t, condition, noise, target)
        total = (self.velocity(x_t, t, condition).float() - target).square().mean()
        return Loss(total, {"velocity_mse": total.detach()}, unit="per latent")

    def _sample_shortcuts(
        self, x_t: Latents, t: Times, condition: Condition, noise: Latents, target: Latents
    ) -> tuple[Latents, Times, Condition, Latents]:
        """Replace the last rows of a batch by steps of some length, and their targets."""
        assert self.step_counts is not None, "a model of shortcuts"
        count = count_last(self.config.shortcut_share, len(t))
        flow, rows = slice(len(t) - count), slice(len(t) - count, None)
        level, start = (numbers[rows] for numbers in sample_steps(len(t), t.device))
        x = interpolate(noise[rows], target[rows] + noise[rows], start)
        own = take_rows(condition, rows)
        ahead = two_half_steps(self.field, self.step_counts, own, x, start, level)
        levels = torch.cat([level.new_full((len(t) - count,), -1), level])
        return (
            torch.cat([x_t[flow], x]),
            torch.cat([t[flow], start]),
            self.step_counts.add_to(condition, levels),
            torch.cat([target[flow], ahead]),
        )

    def _sample_source(self, before: Pixels) -> Latents:
        """Return the latents of the images before their edits; in training some are dropped."""
        latents = self.codec.sample_latents(before)
        if not self.training:
            return latents
        is_kept = batch_rand(len(latents), device=latents.device) >= self.config.caption_dropout
        return latents * is_kept.view(-1, 1, 1, 1)

    @property
    def frozen_encoder(self) -> Callable[[Pixels], Tensor] | None:
        """Means and standard deviations of q(z|x)."""
        return self.codec.encode if isinstance(self.codec, FrozenVAE) else None

    def _sample_latents(self, batch: Batch) -> Latents:
        if batch.encoding is None:
            return self.codec.sample_latents(batch.pixels)
        mean, std = batch.encoding.unbind(1)
        return mean + std * batch_randn(*mean.shape, device=mean.device)

    def _count_visible(self, data: Latents) -> int:
        """Return of how many images of a batch a part is visible, in training."""
        return count_first(self.config.mask_share or 0, len(data)) if self.training else 0

    def _sample_visible(self, data: Latents) -> Visible:
        """Return parts of the first images of a batch; of the others nothing is visible."""
        is_known = sample_visible(len(data), self.codec.shape[1:], data.device)
        is_known[self._count_visible(data) :] = False
        return join_visible(data, is_known)

    def velocity(self, x_t: Latents, t: Times, condition: Condition) -> Latents:
        """Return the velocity at x_t."""
        output = self.network(x_t, t, condition).float()
        return to_velocity(output, x_t, t, self.config.prediction)

    def field(self, condition: Condition) -> Field:
        """Return the velocity field of a condition."""
        return lambda x, t: self.velocity(x, t, condition)

    @property
    def num_progress_steps(self) -> int:
        """How often a stream yields, by default."""
        return NUM_STEPS

    def sample(
        self,
        n: int,
        params: GenerationParams | None = None,
        *,
        label: str | None = None,
        **options: Any,
    ) -> Images:
        """Generate n images. Image i is a function of (seed, start + i).

        Without a label each has the condition of a training image: its label, cluster or caption.
        With a guidance of 0 it has none. `temperature` scales the noise. Raises UsageError for a
        value out of range or an unknown label.
        """
        *_, last = self._sample(n, params, label, options, progress=False)
        return last

    def sample_stream(
        self,
        n: int,
        params: GenerationParams | None = None,
        *,
        label: str | None = None,
        **options: Any,
    ) -> Iterator[Images]:
        """Yield what the images become, after each step: the denoised estimates."""
        return self._sample(n, params, label, options, progress=True)

    def _sample(
        self,
        n: int,
        params: GenerationParams | None,
        label: str | None,
        options: Mapping[str, Any],
        *,
        progress: bool,
    ) -> Iterator[Images]:
        if n < 1:
            raise UsageError(f"the number of images must be at least 1, not {n}.")
        used = COMPLETED if self.config.condition == "none" else SAMPLED
        resolved = resolve_params(params, options, used, guidance=default_guidance(self.config))
        if self.config.condition != "none":
            check_guidance(resolved, self.config.caption_dropout)
        condition_of = self._condition_of_samples(n, resolved, label)
        self.check_solver(resolved)
        return self._generate(self.noise(n, resolved), condition_of, resolved, progress=progress)

    def _condition_of_samples(
        self, n: int, params: GenerationParams, label: str | None
    ) -> ConditionOf:
        """The label's, or those of training images; of nothing with a guidance of 0."""
        if label is not None:
            index = label_index(self.config, self.info, label)
            return self.conditions.of_label_rows(torch.full((n,), index))
        if params.guidance == 0:
            return self._condition_of_nothing
        return self.conditions.of_examples(example_uniforms(n, params), self.network)

    def _condition_of_nothing(self, rows: Rows) -> Condition:
        return self.conditions.of_nothing(len(rows), self.network)

    def noise(self, n: int, params: GenerationParams) -> Latents:
        """Return the noise of n images; each depends on its own seed only."""
        assert params.temperature is not None, "resolved"
        return params.temperature * per_image_normal(n, self.codec.shape, params.seed, params.start)

    @torch.inference_mode()
    def _generate(
        self, noise: Latents, condition_of: ConditionOf, params: GenerationParams, *, progress: bool
    ) -> Iterator[Images]:
        yield from self.generate(noise, condition_of, params, progress=progress)

    def generate(
        self,
        noise: Latents,
        condition_of: ConditionOf,
        params: GenerationParams,
        task: Task | None = None,
        *,
        progress: bool = True,
    ) -> Iterator[Images]:
        """Yield all images after each step of each batch: grey where a batch has not begun.

        `condition_of` returns the condition of rows. A `task` is what is known beforehand. Without
        `progress` the steps are not decoded: it yields after each batch.
        """
        images = torch.full((len(noise), *self._pixel_shape), MID_GREY, dtype=torch.uint8)
        size = evaluation_batch_size(self.network)
        for start in range(0, len(noise), DRAW_BATCH):
            rows = torch.arange(start, min(start + DRAW_BATCH, len(noise)))
            part = Task() if task is None else task.take(rows, self.device)
            fields = [
                self._field_of_rows(own, condition_of, params, task)
                for own in split_rows(rows, size)
            ]
            field = field_in_parts(fields, size)
            steps = part.solve(field, noise[rows].to(self.device), params)
            for latents in steps if progress else deque(steps, maxlen=1):
                decoded = map_in_fixed_batches(self.codec.decode, latents, batch_size=size)[0]
                images[rows] = decoded.cpu()
                yield Images(images.numpy().copy())

    def _field_of_rows(
        self, rows: Rows, condition_of: ConditionOf, params: GenerationParams, task: Task | None
    ) -> Field:
        """Return the field of these rows: of their conditions, guided."""
        condition = condition_of(rows)
        nothing = self._condition_of_nothing(rows)._replace(source=condition.source)
        visible = None if task is None else task.take(rows, self.device).visible
        condition, nothing = (c._replace(visible=visible) for c in (condition, nothing))
        if params.solver == "shortcut":
            condition, nothing = (self._take_shortcut(c, params) for c in (condition, nothing))
        guidance = 1.0 if params.guidance is None else params.guidance
        return field_with_guidance(self.velocity, condition, nothing, guidance)

    def check_solver(self, params: GenerationParams) -> None:
        """Raise UsageError for shortcuts that the model has not learned."""
        if params.solver == "shortcut":
            check_shortcut(self.step_counts, params.steps)

    def _take_shortcut(self, condition: Condition, params: GenerationParams) -> Condition:
        assert self.step_counts is not None, "a model of shortcuts"
        level = level_of(params.steps or DEFAULT_STEPS)
        levels = torch.full((len(condition.vector),), level, device=self.device)
        return self.step_counts.add_to(condition, levels)

    # -- completing -----------------------------------------------------------------------------

    @property
    def patch_size(self) -> int:
        """Pixels per side of a position of the latents."""
        return self.codec.downscale

    def complete(
        self,
        images: Images,
        mask: Bool[np.ndarray, "n height width"],
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Images:
        """Generate the pixels where `mask` is True; the others are returned unchanged.

        Raises UsageError for images and masks of another shape, and for values out of range.
        """
        *_, last = self._complete(images, mask, params, options, progress=False)
        return last

    def complete_stream(
        self,
        images: Images,
        mask: Bool[np.ndarray, "n height width"],
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Iterator[Images]:
        """Yield what the images of `complete` become, after each step."""
        return self._complete(images, mask, params, options, progress=True)

    def _complete(
        self,
        images: Images,
        mask: Bool[np.ndarray, "n height width"],
        params: GenerationParams | None,
        options: Mapping[str, Any],
        *,
        progress: bool,
    ) -> Iterator[Images]:
        resolved = resolve_params(params, options, COMPLETED)
        self.check_solver(resolved)
        pixels = check_images(self.info, images)
        check_mask(images, mask)
        return self._fill_in(pixels, torch.from_numpy(mask.copy()), resolved, progress=progress)

    @torch.inference_mode()
    def _fill_in(
        self,
        pixels: Pixels,
        mask: Bool[Tensor, "n height width"],
        params: GenerationParams,
        *,
        progress: bool,
    ) -> Iterator[Images]:
        known = self.mean_latents(fill_masked(pixels, mask))
        task = Task(known, ~self._is_touched(mask))
        noise, nothing = self.noise(len(pixels), params), self._condition_of_nothing
        for images in self.generate(noise, nothing, params, task, progress=progress):
            generated = torch.from_numpy(images.pixels)
            yield Images(torch.where(mask[..., None], generated, pixels).numpy())

    def mean_latents(self, pixels: Pixels) -> Latents:
        """Return the standardized means of q(z|x), on the CPU."""
        zero = torch.zeros(1, *self.codec.shape, device=self.device)

        def encode(batch: Pixels) -> Latents:
            return self.codec.sample_latents(batch.to(self.device), zero).cpu()

        return map_in_fixed_batches(encode, pixels)[0]

    def _is_touched(self, mask: Bool[Tensor, "n height width"]) -> Bool[Tensor, "n one r c"]:
        """Return the positions of the latents of which a pixel is masked."""
        side, (rows, columns) = self.codec.downscale, self.codec.shape[1:]
        missing = (columns * side - mask.shape[2], rows * side - mask.shape[1])
        padded = F.pad(mask[:, None].float(), (0, missing[0], 0, missing[1]))
        return F.max_pool2d(padded, side) > 0

    @property
    def _pixel_shape(self) -> tuple[int, int, int]:
        return (self.info.height, self.info.width, self.info.channels)


def _mean_latents(batch: Batch, drawn: Latents) -> Latents:
    """Return the means of q(z|x) where they are known, else what was drawn from it."""
    return drawn if batch.encoding is None else batch.encoding[:, 0]
