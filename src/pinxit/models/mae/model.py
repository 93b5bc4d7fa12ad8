"""The masked autoencoder as a torch module."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.data.images import Images
from pinxit.data.masks import composite
from pinxit.errors import UsageError
from pinxit.models.generation import SEEDED, GenerationParams, resolve_params
from pinxit.models.inputs import check_images, check_mask
from pinxit.models.mae.config import Config
from pinxit.models.mae.masking import Order, order, restoring, seen_count
from pinxit.models.results import Loss
from pinxit.nn.chunking import map_in_fixed_batches
from pinxit.nn.pixels import gather_tokens, patchify, unpatchify
from pinxit.nn.positions import sincos_2d_pos_embed
from pinxit.nn.rng import mix_seed
from pinxit.nn.transformer import Block

EPS = 1e-6  # of layer norms and of a patch's variance, as in the paper's code
AT_ONCE = 16  # images, in `complete`: those with as many patches seen go together

Values = Float[Tensor, "batch patches numbers"]
Tokens = Float[Tensor, "batch patches width"]


class MaskedAutoencoder(nn.Module):
    """A ViT over the visible patches, a light decoder over all."""

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        super().__init__()
        assert config.patch_size and config.width and config.heads and config.depth, "resolved"
        assert config.decoder_width and config.decoder_heads, "a resolved configuration"
        self.config, self.info = config, info
        self.patch_size: int = config.patch_size
        self.rows, self.columns = info.height // self.patch_size, info.width // self.patch_size
        self.patches = self.rows * self.columns
        self.centre, self.scale = info.mean, max(info.std, 0.05)
        numbers, width, thin = (
            info.channels * self.patch_size**2,
            config.width,
            config.decoder_width,
        )
        self.embedding = nn.Linear(numbers, width)
        self.summary = nn.Parameter(torch.empty(width))  # the class token
        self.encoder = nn.ModuleList(
            Block(width, config.heads, eps=EPS) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, EPS)
        self.narrow = nn.Linear(width, thin)
        self.hole = nn.Parameter(torch.empty(thin))  # the mask token
        self.decoder = nn.ModuleList(
            Block(thin, config.decoder_heads, eps=EPS) for _ in range(config.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(thin, EPS)
        self.head = nn.Linear(thin, numbers)
        self.register_buffer("places", sincos_2d_pos_embed(self.rows, self.columns, width), False)
        self.register_buffer(
            "decoder_places", sincos_2d_pos_embed(self.rows, self.columns, thin), False
        )
        self._start()

    places: Tensor
    decoder_places: Tensor
    left_to_right = False

    def _start(self) -> None:
        """Xavier's uniform weights, small tokens (the paper's code)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.summary, std=0.02)
        nn.init.normal_(self.hole, std=0.02)

    # -- the equations ------------------------------------------------------------------------

    def encoded(self, values: Values, seen: Int64[Tensor, "batch some"]) -> Tokens:
        """The encoder on some patches alone; the class token first. No mask token is in it."""
        return self.norm(self._hidden(values, seen, self.config.depth))

    def _hidden(
        self, values: Values, seen: Int64[Tensor, "batch some"] | None, layers: int | None
    ) -> Tokens:
        """After so many layers; `values` are those of the patches that are seen, in that order."""
        where = self.places if seen is None else self.places[seen]
        h = self.embedding(values) + where
        h = torch.cat((self.summary.expand(len(h), 1, -1), h), 1)
        for layer in self.encoder[:layers]:
            h = layer(h)
        return h

    def decoded(self, tokens: Tokens, shuffled: Order, hidden_only: bool = False) -> Values:
        """Every patch as the decoder has it, in raster order, or those hidden, as they are ordered.

        `tokens` are of the class and of the first patches of the order `shuffled`. The decoder
        works in that order too: attention asks for none, and the hidden ones stand together.
        """
        known = self.narrow(tokens)
        holes = self.hole.expand(len(known), shuffled.shape[1] - known.shape[1] + 1, -1)
        h = torch.cat((known[:, 1:], holes), 1) + self.decoder_places[shuffled]
        h = torch.cat((known[:, :1], h), 1)
        for layer in self.decoder[:-1]:
            h = layer(h)
        last = self.decoder[-1]
        assert isinstance(last, Block)
        h = last.forward_from(h, known.shape[1] if hidden_only else 1)
        made = self.head(self.decoder_norm(h))
        return made if hidden_only else gather_tokens(made, restoring(shuffled))

    def values(self, patches: Tensor) -> Values:
        """Patches of pixels (0 to 255) as the encoder sees them."""
        return (patches.float() / 255 - self.centre) / self.scale

    def targets(self, patches: Tensor) -> Values:
        """What the decoder is to give for patches of pixels: as seen, or normalised by patch."""
        if not self.config.norm_pix_loss:
            return self.values(patches)
        x = patches.float() / 255
        variance, mean = torch.var_mean(x, -1, keepdim=True)
        return (x - mean) / (variance + EPS).sqrt()

    def loss(self, batch: Batch, progress: float = 1.0) -> Loss:
        """Mean squared error of the pixels of patches that were not seen (He 2021, section 3).

        Pixels are from 0 to 1, or with `norm_pix_loss` in deviations of their patch.
        """
        size = len(batch.pixels)
        device = batch.pixels.device
        shuffled = order(self.config.masking, size, self.rows, self.columns, device)
        return self.loss_of(patchify(batch.pixels, self.patch_size), shuffled)

    def loss_of(self, patches: Tensor, shuffled: Order) -> Loss:
        """The loss where the first patches of an order are seen."""
        count = seen_count(self.patches, self.config.mask_ratio)
        seen, hidden = shuffled[:, :count], shuffled[:, count:]
        tokens = self.encoded(self.values(gather_tokens(patches, seen)), seen)
        made = self.decoded(tokens, shuffled, hidden_only=True)
        wrong = made.float() - self.targets(gather_tokens(patches, hidden))
        if self.config.norm_pix_loss:
            error = wrong.square().mean()
            return Loss(error, {"masked_error": error.detach()}, "squared deviations per pixel")
        error = wrong.square().mean() * self.scale**2
        return Loss(error, {"masked_error": error.detach()}, "squared error per pixel")

    def features(self, x: Float[Tensor, "batch c h w"], layer: int | None = None) -> Tokens:
        """A token for each patch of whole images (0 to 1), after a layer or after the last norm.

        Gradients pass: a distance of these tokens is a perceptual loss, their mean over the
        patches a feature space for distances between sets of images.
        """
        patches = patchify(x.permute(0, 2, 3, 1), self.patch_size)
        values = (patches - self.centre) / self.scale
        hidden = self._hidden(values, None, layer)
        return (hidden if layer is not None else self.norm(hidden))[:, 1:]

    # -- abilities ----------------------------------------------------------------------------

    @torch.inference_mode()
    def embed(self, images: Images, layer: int | None = None) -> Float32[np.ndarray, "n width"]:
        """The mean over all patches of `features`, nothing masked."""

        def mean(rows: Tensor) -> Tensor:
            x = rows.to(self.device).permute(0, 3, 1, 2).float() / 255
            return self.features(x, layer).mean(1).float().cpu()

        return map_in_fixed_batches(mean, check_images(self.info, images))[0].numpy()

    @torch.inference_mode()
    def complete(
        self,
        images: Images,
        mask: Bool[np.ndarray, "n height width"],
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Images:
        """The missing pixels as the decoder paints them: the mean of what could be there.

        A patch with a missing pixel is not seen at all. `seed` and `temperature` change nothing:
        there is no chance in a masked autoencoder. With `norm_pix_loss` a patch's mean and
        deviation are not known to the model, and those of the visible patches stand in.
        """
        resolve_params(params, options, SEEDED)  # refuses what it would not use
        pixels = check_images(self.info, images)
        check_mask(images, mask)
        made = np.array(images.pixels)
        hidden = patchify(torch.from_numpy(np.array(mask))[..., None], self.patch_size).any(-1)
        counts = hidden.sum(1)
        for count in counts.unique().tolist():
            if count:
                rows = (counts == count).nonzero()[:, 0]
                painted = self._painted(pixels[rows], hidden[rows], int(count))
                made[rows.numpy()] = painted.numpy()
        return Images(composite(images, made, mask))

    def _painted(self, pixels: Tensor, hidden: Bool[Tensor, "n patches"], count: int) -> Tensor:
        """Images of which equally many patches are hidden, whole."""
        shuffled = hidden.int().argsort(stable=True, dim=1)  # those seen first

        def paint(rows: Tensor, shuffled: Order) -> Tensor:
            patches = patchify(rows.to(self.device), self.patch_size)
            shuffled = shuffled.to(self.device)
            seen = shuffled[:, : self.patches - count]
            known = gather_tokens(patches, seen)
            values = self.decoded(self.encoded(self.values(known), seen), shuffled)
            x = self._to_unit(values.float(), known)
            made = x.clamp(0, 1).mul(255).round().to(torch.uint8)
            return unpatchify(made, self.rows, self.patch_size).cpu()

        return map_in_fixed_batches(paint, pixels, shuffled, batch_size=AT_ONCE)[0]

    def _to_unit(self, values: Values, known: Tensor) -> Values:
        """What the decoder gave, on a scale of 0 to 1."""
        if not self.config.norm_pix_loss:
            return values * self.scale + self.centre
        if known.shape[1] == 0:
            return values * self.scale + self.centre
        variance, mean = torch.var_mean(known.float() / 255, -1, keepdim=True)
        return values * (variance + EPS).sqrt().mean(1, keepdim=True) + mean.mean(1, keepdim=True)

    def unmask(self, n: int, *, seed: int = 0, steps: int = 8, temperature: float = 0.5) -> Images:
        """Images from nothing by iterative unmasking: the nearest to sampling that it comes.

        In each step all is painted, and a few more patches, drawn by (seed, i), are kept for good.
        A painted patch is a mean, so each that is kept is moved in its brightness by chance
        (`temperature` times the images' deviation); else all images would be one.
        """
        if n < 1 or steps < 1:
            raise UsageError(f"images and steps are 1 or more each, not {n} and {steps}.")
        info, shape = self.info, (n, self.rows, self.columns)
        pixels = np.zeros((n, info.height, info.width, info.channels), np.uint8)
        random = [np.random.default_rng(mix_seed(seed, i)) for i in range(n)]
        ranks = np.stack([one.permutation(self.patches) for one in random]).reshape(shape)
        moves = np.stack([one.normal(size=shape[1:]) for one in random]) * 255 * self.scale
        hidden = np.ones(shape, bool)
        for step in range(1, steps + 1):
            made = self.complete(Images(pixels), self._in_pixels(hidden)).pixels
            if step == steps:
                return Images(made)
            kept = hidden & (ranks < round(self.patches * step / steps))
            move = self._in_pixels(np.where(kept, temperature * moves, 0))[..., None]
            keep = self._in_pixels(kept)[..., None]
            moved = np.clip(made + move, 0, 255).round().astype(np.uint8)
            pixels, hidden = np.where(keep, moved, pixels), hidden & ~kept
        raise AssertionError("the last step returns")

    def _in_pixels(self, by_patch: np.ndarray) -> np.ndarray:
        return by_patch.repeat(self.patch_size, 1).repeat(self.patch_size, 2)

    @property
    def device(self) -> Any:
        return next(self.parameters()).device
