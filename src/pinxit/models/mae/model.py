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
from pinxit.models.generation import GenerationParams, resolve_params
from pinxit.models.inputs import check_images, check_mask
from pinxit.models.mae.config import Config
from pinxit.models.results import Loss
from pinxit.nn.batching import map_in_fixed_batches
from pinxit.nn.interruption import check_interrupted
from pinxit.nn.masking import Order, inverse_order, mask_order, num_visible
from pinxit.nn.pixels import gather_tokens, patchify, unpatchify
from pinxit.nn.positions import sincos_2d_pos_embed
from pinxit.nn.rng import mix_seed
from pinxit.nn.transformer import Block

EPS = 1e-6  # of layer norms and of a patch's variance, as in the paper's code
COMPLETE_BATCH = 16  # images that `complete` decodes together, all with equally many patches masked

Patches = Float[Tensor, "batch patches patch_dim"]
Tokens = Float[Tensor, "batch patches width"]
Visible = Int64[Tensor, "batch visible"]  # indices of the visible patches


class MaskedAutoencoder(nn.Module):
    """A ViT over the visible patches, and a light decoder over all patches."""

    pos_embed: Tensor
    decoder_pos_embed: Tensor
    left_to_right = False
    completion_is_deterministic = True

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        super().__init__()
        assert config.patch_size and config.width and config.heads and config.depth, "resolved"
        assert config.decoder_width and config.decoder_heads, "a resolved configuration"
        self.config, self.info = config, info
        self.patch_size: int = config.patch_size
        self.rows, self.columns = info.height // self.patch_size, info.width // self.patch_size
        self.num_patches = self.rows * self.columns
        self.mean, self.std = info.mean, max(info.std, 0.05)
        patch_dim = info.channels * self.patch_size**2
        width, decoder_width = config.width, config.decoder_width
        self.patch_embed = nn.Linear(patch_dim, width)
        self.cls_token = nn.Parameter(torch.empty(width))
        self.encoder = nn.ModuleList(
            Block(width, config.heads, eps=EPS) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, EPS)
        self.decoder_embed = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(torch.empty(decoder_width))
        self.decoder = nn.ModuleList(
            Block(decoder_width, config.decoder_heads, eps=EPS) for _ in range(config.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_width, EPS)
        self.head = nn.Linear(decoder_width, patch_dim)
        grid = (self.rows, self.columns)
        self.register_buffer("pos_embed", sincos_2d_pos_embed(*grid, width), False)
        self.register_buffer("decoder_pos_embed", sincos_2d_pos_embed(*grid, decoder_width), False)
        self.init_weights()

    def init_weights(self) -> None:
        """Xavier uniform weights, tokens with standard deviation 0.02 (the paper's code)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)

    # -- the equations ------------------------------------------------------------------------

    def encode(self, patches: Patches, visible: Visible) -> Tokens:
        """Encode the visible patches only; the class token comes first."""
        return self.norm(self._forward_encoder(patches, visible, self.config.depth))

    def _forward_encoder(
        self, patches: Patches, visible: Visible | None, num_layers: int | None
    ) -> Tokens:
        """Run the first `num_layers` layers; `patches` are at the positions `visible`."""
        pos_embed = self.pos_embed if visible is None else self.pos_embed[visible]
        h = self.patch_embed(patches) + pos_embed
        h = torch.cat((self.cls_token.expand(h.shape[0], 1, -1), h), 1)
        for layer in self.encoder[:num_layers]:
            h = layer(h)
        return h

    def decode(self, tokens: Tokens, order: Order, masked_only: bool = False) -> Patches:
        """Predict all patches in raster order, or the masked ones in the order's order.

        `tokens` are the class token and the first patches of `order`. The decoder works on the
        patches in that order: attention does not depend on it, and the masked ones are a slice.
        """
        encoded = self.decoder_embed(tokens)
        num_masked = order.shape[1] - (encoded.shape[1] - 1)
        mask_tokens = self.mask_token.expand(encoded.shape[0], num_masked, -1)
        h = torch.cat((encoded[:, 1:], mask_tokens), 1) + self.decoder_pos_embed[order]
        h = torch.cat((encoded[:, :1], h), 1)
        for layer in self.decoder[:-1]:
            h = layer(h)
        last = self.decoder[-1]
        assert isinstance(last, Block)
        h = last.forward_from(h, encoded.shape[1] if masked_only else 1)
        patches = self.head(self.decoder_norm(h))
        return patches if masked_only else gather_tokens(patches, inverse_order(order))

    def normalize(self, patches: Tensor) -> Patches:
        """Standardize patches of pixels (0 to 255) by the mean and deviation of the data."""
        return (patches.float() / 255 - self.mean) / self.std

    def targets(self, patches: Tensor) -> Patches:
        """Return the decoder's targets for patches of pixels.

        They are standardized by the mean and variance of the training data, or with
        `norm_pix_loss` of each patch.
        """
        if not self.config.norm_pix_loss:
            return self.normalize(patches)
        x = patches.float() / 255
        variance, mean = torch.var_mean(x, -1, keepdim=True)
        return (x - mean) / (variance + EPS).sqrt()

    def loss(self, batch: Batch, progress: float = 1.0) -> Loss:
        """Mean squared error of the pixels of the masked patches (He 2021, section 3).

        Pixels are from 0 to 1, or with `norm_pix_loss` standardized by patch.
        """
        batch_size, device = len(batch.pixels), batch.pixels.device
        order = mask_order(self.config.masking, batch_size, self.rows, self.columns, device)
        return self.loss_for_order(patchify(batch.pixels, self.patch_size), order)

    def loss_for_order(self, patches: Tensor, order: Order) -> Loss:
        """Compute the loss with the first patches of `order` visible."""
        count = num_visible(self.num_patches, self.config.mask_ratio)
        visible, masked = order[:, :count], order[:, count:]
        tokens = self.encode(self.normalize(gather_tokens(patches, visible)), visible)
        predictions = self.decode(tokens, order, masked_only=True)
        errors = predictions.float() - self.targets(gather_tokens(patches, masked))
        if self.config.norm_pix_loss:
            mse, unit = errors.square().mean(), "MSE per normalized pixel"
        else:
            mse, unit = errors.square().mean() * self.std**2, "MSE per pixel"
        return Loss(mse, {"masked_mse": mse.detach()}, unit)

    def features(self, x: Float[Tensor, "batch c h w"], layer: int | None = None) -> Tokens:
        """Return a token per patch of whole images (0 to 1), after `layer` or the last norm.

        Differentiable: a distance of these tokens is a perceptual loss; their mean over the
        patches is a feature space for distances between sets of images.
        """
        patches = patchify(x.permute(0, 2, 3, 1), self.patch_size)
        h = self._forward_encoder((patches - self.mean) / self.std, None, layer)
        return (h if layer is not None else self.norm(h))[:, 1:]

    def layer_features(self, x: Float[Tensor, "batch c h w"]) -> list[Tokens]:
        """Return the tokens of whole images (0 to 1) after each encoder layer; differentiable."""
        patches = (patchify(x.permute(0, 2, 3, 1), self.patch_size) - self.mean) / self.std
        h = self._forward_encoder(patches, None, 0)
        outputs = []
        for layer in self.encoder:
            h = layer(h)
            outputs.append(h[:, 1:])
        return outputs

    # -- abilities ----------------------------------------------------------------------------

    @torch.inference_mode()
    def embed(self, images: Images, layer: int | None = None) -> Float32[np.ndarray, "n width"]:
        """Return the mean over all patches of `features`, without masking."""

        def mean_features(pixels: Tensor) -> Tensor:
            x = pixels.to(self.device).permute(0, 3, 1, 2).float() / 255
            return self.features(x, layer).mean(1).float().cpu()

        return map_in_fixed_batches(mean_features, check_images(self.info, images))[0].numpy()

    @torch.inference_mode()
    def complete(
        self,
        images: Images,
        mask: Bool[np.ndarray, "n height width"],
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Images:
        """Fill in the masked pixels with the decoder's prediction: the mean of what is possible.

        A patch with a masked pixel is masked as a whole. Deterministic: the `seed`, which may have
        chosen the mask, has no effect here. With `norm_pix_loss` the mean and deviation of a masked
        patch are unknown; those of the visible patches are used. Raises UsageError for a mask of
        another shape, and for any other option.
        """
        resolve_params(params, options, ("seed",))  # rejects options without a meaning here
        pixels = check_images(self.info, images)
        check_mask(images, mask)
        completed = np.array(images.pixels)
        masked = patchify(torch.from_numpy(np.array(mask))[..., None], self.patch_size).any(-1)
        counts = masked.sum(1)
        for count in counts.unique().tolist():
            if count:
                rows = (counts == count).nonzero()[:, 0]
                predicted = self._predict_masked(pixels[rows], masked[rows], int(count))
                completed[rows.numpy()] = predicted.numpy()
        return Images(composite(images, completed, mask))

    def _predict_masked(
        self, pixels: Tensor, masked: Bool[Tensor, "n patches"], num_masked: int
    ) -> Tensor:
        """Predict all pixels of images that have `num_masked` masked patches each."""
        order = masked.int().argsort(stable=True, dim=1)  # visible patches first

        def predict(pixels: Tensor, order: Order) -> Tensor:
            patches = patchify(pixels.to(self.device), self.patch_size)
            order = order.to(self.device)
            visible = order[:, : self.num_patches - num_masked]
            visible_patches = gather_tokens(patches, visible)
            tokens = self.encode(self.normalize(visible_patches), visible)
            x = self.denormalize(self.decode(tokens, order).float(), visible_patches)
            predicted = x.clamp(0, 1).mul(255).round().to(torch.uint8)
            return unpatchify(predicted, self.rows, self.patch_size).cpu()

        return map_in_fixed_batches(predict, pixels, order, batch_size=COMPLETE_BATCH)[0]

    def denormalize(self, patches: Patches, visible_patches: Tensor) -> Patches:
        """Predictions on the scale 0 to 1."""
        if not self.config.norm_pix_loss or visible_patches.shape[1] == 0:
            return patches * self.std + self.mean
        variance, mean = torch.var_mean(visible_patches.float() / 255, -1, keepdim=True)
        std = (variance + EPS).sqrt()
        return patches * std.mean(1, keepdim=True) + mean.mean(1, keepdim=True)

    def unmask(self, n: int, *, seed: int = 0, steps: int = 8, temperature: float = 0.5) -> Images:
        """Generate images by iterative unmasking: the closest that a MAE comes to sampling.

        Each step predicts all masked patches and keeps some of them, chosen by (seed, i). A
        prediction is a mean, so the brightness of each patch that is kept is shifted at random
        (`temperature` times the standard deviation of the data); otherwise all images would be
        the same. Raises UsageError for n or steps below 1.
        """
        if n < 1 or steps < 1:
            raise UsageError(f"n and steps must be 1 or more, not {n} and {steps}.")
        info, shape = self.info, (n, self.rows, self.columns)
        pixels = np.zeros((n, info.height, info.width, info.channels), np.uint8)
        generators = [np.random.default_rng(mix_seed(seed, i)) for i in range(n)]
        ranks = np.stack([g.permutation(self.num_patches) for g in generators]).reshape(shape)
        shifts = np.stack([g.normal(size=shape[1:]) for g in generators]) * 255 * self.std
        masked = np.ones(shape, bool)
        for step in range(1, steps):
            check_interrupted()
            predicted = self.complete(Images(pixels), self._to_pixel_grid(masked)).pixels
            keep = masked & (ranks < round(self.num_patches * step / steps))
            shift = self._to_pixel_grid(np.where(keep, temperature * shifts, 0))[..., None]
            shifted = np.clip(predicted + shift, 0, 255).round().astype(np.uint8)
            pixels = np.where(self._to_pixel_grid(keep)[..., None], shifted, pixels)
            masked = masked & ~keep
        return self.complete(Images(pixels), self._to_pixel_grid(masked))

    def _to_pixel_grid(self, values: np.ndarray) -> np.ndarray:
        """Repeat a value per patch `[n, rows, columns]` for each of its pixels."""
        return values.repeat(self.patch_size, 1).repeat(self.patch_size, 2)

    @property
    def device(self) -> torch.device:
        return self.cls_token.device
