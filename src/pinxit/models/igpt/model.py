"""iGPT: a codec from images to tokens and back, and a transformer over the tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from torch import Tensor, nn

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.data.images import Images
from pinxit.data.masks import composite
from pinxit.data.psnr import psnr
from pinxit.errors import PinxitError, UsageError
from pinxit.models.generation import TOKENS, GenerationParams, resolve_params
from pinxit.models.igpt.config import Config
from pinxit.models.igpt.generate import GenerationInputs, generate, num_unmask_steps
from pinxit.models.igpt.network import Labels, Mask, Tokens, TokenTransformer
from pinxit.models.image_codecs import FrozenImageTokenizer, ImageCodec, PaletteCodec
from pinxit.models.inputs import check_images, check_mask, choose_sample_labels
from pinxit.models.results import Loss
from pinxit.nn.batch_share import batch_rand
from pinxit.nn.batching import map_in_fixed_batches
from pinxit.nn.image_seeds import Draw, draw_uniforms, image_seeds
from pinxit.nn.layers import drop_labels, set_label_dropout
from pinxit.nn.palette import DEFAULT_PALETTE_SIZE
from pinxit.nn.pixels import patchify
from pinxit.nn.rng import per_image_seeds, per_image_uniform
from pinxit.nn.token_sampling import SamplingParams

NUM_GREY_LEVELS = 256

Pixels = UInt8[Tensor, "batch height width channel"]
PixelMask = Bool[np.ndarray, "n height width"]  # True: missing


class IGPT(nn.Module):
    """pixels -> codec -> tokens -> transformer -> logits of each token."""

    palette_exact: Tensor

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        super().__init__()
        assert config.patch_size, "a resolved configuration"
        self.config, self.info = config, info
        self.patch_size: int = config.patch_size
        self.rows, self.columns = info.height // self.patch_size, info.width // self.patch_size
        self.left_to_right = config.objective == "autoregressive"
        self.label_conditional = config.condition == "label"
        num_classes = len(info.label_names) if self.label_conditional else 0
        self.codec = _build_codec(config, info)
        self.register_buffer("palette_exact", torch.tensor(config.palette == "binary"))
        self.network = TokenTransformer(
            config, self.rows, self.columns, self.codec.num_codes, num_classes
        )
        set_label_dropout(self.network, config.label_dropout)

    @property
    def palette_is_exact(self) -> bool:
        """Whether the palette holds every patch of the training images exactly."""
        return bool(self.palette_exact)

    @property
    def eight_bit(self) -> bool:
        """Whether the likelihood is over 8-bit pixels: the palette holds the training images."""
        return self.palette_is_exact

    @property
    def likelihood_description(self) -> str:
        """The variables of the likelihood, for the evaluation's protocol."""
        if self.config.binarize == "dynamic":
            return "each test image binarized once, pixels sampled by their grey value"
        if self.config.palette == "binary":
            return "pixels binarized at one half"
        if isinstance(self.codec, FrozenImageTokenizer):
            return "codes of the image tokenizer"
        return "8-bit values" if self.palette_is_exact else "tokens of the palette"

    @property
    def num_progress_steps(self) -> int:
        """How often `sample_stream` yields."""
        return self.rows if self.left_to_right else num_unmask_steps(self.network.seq_len)

    def binarize(self, pixels: Pixels, seeds: Sequence[int] | None = None) -> Pixels:
        """Return the pixels as the model observes them, black and white with a binary palette.

        With `dynamic` binarization each pixel is sampled by its grey value, else thresholded at one
        half. With `seeds`, one per image, the random numbers of an image are its own.
        """
        if self.config.binarize == "dynamic":
            if seeds is None:
                u = batch_rand(*pixels.shape, device=pixels.device)
            else:
                u = draw_uniforms(pixels.shape, seeds).to(pixels.device)
            return (u * 255 < pixels).to(torch.uint8) * 255
        return (pixels > 127).to(torch.uint8) * 255 if self.config.palette == "binary" else pixels

    @torch.inference_mode()
    def holds_exactly(self, images: Images) -> Bool[np.ndarray, " n"]:
        """Return for each image whether decoding its tokens gives every pixel back.

        Of a model of binarized grey images, whether that holds of the binarized image: always.
        """
        pixels = check_images(self.info, images)
        if self.config.palette == "binary" and self.info.binary_fraction < 1:
            return np.ones(len(pixels), bool)
        (tokens,) = map_in_fixed_batches(self._encode, pixels)
        (decoded,) = map_in_fixed_batches(self._decode_tokens, tokens)
        return (decoded == pixels.cpu()).flatten(1).all(1).numpy()

    def palette_psnr(self, images: Images) -> Float64[np.ndarray, " n"]:
        """PSNR in dB of each image encoded and decoded by the palette; 59 if it is exact."""
        tokens = self.codec.encode(check_images(self.info, images).to(self.device))
        decoded = self.codec.decode(tokens).cpu().numpy()
        error = decoded.astype(np.float32) - images.pixels
        return psnr(np.square(error).mean((1, 2, 3), dtype=np.float64) / 255**2)

    # -- the losses ---------------------------------------------------------------------------

    def loss(self, batch: Batch, progress: float = 1.0) -> Loss:
        """-log p(x) in nats per image; masked: nats per masked token (Chen 2020, 2.1 and 2.2)."""
        tokens = self.codec.encode(self.binarize(batch.pixels))
        labels = batch.labels if self.label_conditional else None
        labels = drop_labels(labels, self.config.label_dropout, self.training)
        if self.left_to_right:
            return self._loss_autoregressive(tokens, labels)
        return self._loss_masked(tokens, labels)

    def _loss_autoregressive(self, tokens: Tokens, labels: Labels) -> Loss:
        logits = self.network.logits(tokens, labels).float()
        nll = F.cross_entropy(logits.flatten(0, 1), tokens.flatten()) * self.network.seq_len
        parts = {"nll": nll.detach()}
        if self.eight_bit:
            parts["bits_per_dim"] = nll.detach() / (self.info.dims * math.log(2))
        return Loss(nll, parts)

    def _loss_masked(self, tokens: Tokens, labels: Labels) -> Loss:
        mask = self._random_mask(tokens)
        hidden = self.network.forward_hidden(tokens, labels, mask)[mask]
        logits = self.network.head(self.network.norm(hidden))  # of the masked tokens only
        nll = F.cross_entropy(logits.float(), tokens[mask])
        return Loss(nll, {"masked_nll": nll.detach()}, "nats per masked token")

    def _random_mask(self, tokens: Tokens) -> Mask:
        """Mask the same number of tokens in every image."""
        seq_len = self.network.seq_len
        count = min(max(1, round(self.config.mask_ratio * seq_len)), seq_len)
        masked = batch_rand(*tokens.shape, device=tokens.device).argsort(1)[:, :count]
        return torch.zeros_like(tokens, dtype=torch.bool).scatter_(1, masked, True)

    # -- abilities ----------------------------------------------------------------------------

    def sample(
        self,
        n: int,
        params: GenerationParams | None = None,
        *,
        label: str | None = None,
        **options: Any,
    ) -> Images:
        """Sample n images token by token; image i is a function of (seed, start + i).

        Raises UsageError for a value out of range or an unknown label.
        """
        *_, images = self.sample_stream(n, params, label=label, **options)
        return images

    def sample_stream(
        self,
        n: int,
        params: GenerationParams | None = None,
        *,
        label: str | None = None,
        **options: Any,
    ) -> Iterator[Images]:
        """Yield the images of `sample` while they are generated; missing tokens are grey."""
        if n < 1:
            raise UsageError(f"the number of images must be at least 1, not {n}.")
        resolved = resolve_params(params, options, TOKENS)
        seeds = per_image_seeds(resolved.seed, n, resolved.start)
        chosen = choose_sample_labels(self.config, self.info, label, seeds)
        labels = None if chosen is None else torch.from_numpy(chosen)
        unknown = torch.full((n, self.network.seq_len), -1)
        generated = self._generate(unknown, labels, resolved)
        return (Images(self._decode(tokens)) for tokens in generated)

    def complete(
        self,
        images: Images,
        mask: PixelMask,
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Images:
        """Generate the masked pixels token by token; a patch with a masked pixel is masked.

        An autoregressive model sees only the tokens before a position in raster order: it
        completes lower halves well, and upper halves without seeing the rest. A masked model sees
        all known tokens.
        """
        *_, completed = self.complete_stream(images, mask, params, **options)
        return completed

    def complete_stream(
        self,
        images: Images,
        mask: PixelMask,
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Iterator[Images]:
        """Yield the images of `complete` while they are generated."""
        resolved = resolve_params(params, options, TOKENS)
        pixels = check_images(self.info, images).to(self.device)
        check_mask(images, mask)
        pixel_mask = torch.from_numpy(np.array(mask))[..., None]
        if isinstance(self.codec, FrozenImageTokenizer):
            # a code depends on pixels around its patch: replace those that are missing
            grey = round(255 * self.info.mean)
            pixels = torch.where(pixel_mask.to(self.device), grey, pixels).to(torch.uint8)
        missing = patchify(pixel_mask, self.patch_size).any(-1)
        tokens = torch.where(missing, -1, self.codec.encode(pixels).cpu())
        generated = self._generate(tokens, self._labels_of(images), resolved)
        return (Images(composite(images, self._decode(codes), mask)) for codes in generated)

    def _generate(
        self, tokens: Tokens, labels: Labels, params: GenerationParams
    ) -> Iterator[Tokens]:
        """Generate the tokens below 0; `params` are resolved."""
        uniforms = per_image_uniform(len(tokens), self.network.seq_len, params.seed, params.start)
        inputs = GenerationInputs(tokens, labels, uniforms)
        yield from generate(self.network, inputs, SamplingParams.from_options(params))

    def _decode(self, tokens: Tokens) -> UInt8[np.ndarray, "n height width channel"]:
        return self._decode_tokens(tokens).numpy()

    likelihood_is_exact = True
    max_scored_images = None

    @torch.inference_mode()
    def score(
        self, images: Images, *, samples: int = 1, seed: int = 0
    ) -> Float32[np.ndarray, " n"]:
        """Return log p(x) of each image in nats. It is exact: `samples` has no effect.

        With `dynamic` binarization the pixels of an image are sampled by (seed, its name). Where
        the palette is not exact the likelihood is that of the quantized images. Raises PinxitError
        for a masked model.
        """
        if not self.left_to_right:
            raise PinxitError(
                "a model trained with --objective masked has no likelihood. Train one with "
                "--objective autoregressive."
            )
        pixels = check_images(self.info, images)
        seeds = image_seeds(images, seed, Draw.OBSERVATION)
        (tokens,) = map_in_fixed_batches(self._encode, self.binarize(pixels, seeds))

        def log_likelihood(tokens: Tensor, labels: Tensor | None) -> Tensor:
            labels = None if labels is None else labels.to(self.device)
            return self.network.log_likelihood(tokens.to(self.device), labels).cpu()

        return map_in_fixed_batches(log_likelihood, tokens, self._labels_of(images))[0].numpy()

    def image_tokens(self, images: Images) -> Int64[np.ndarray, "n rows columns"]:
        """Return the tokens of images, as grids."""
        (tokens,) = map_in_fixed_batches(self._encode, check_images(self.info, images))
        return tokens.unflatten(1, (self.rows, self.columns)).numpy()

    def tokens_to_images(self, tokens: Int64[np.ndarray, "n rows columns"]) -> Images:
        """Decode grids of tokens; those below 0 become grey."""
        return Images(self._decode(torch.from_numpy(tokens).flatten(1)))

    @torch.inference_mode()
    def token_probs(
        self, image: Images, mask: Bool[np.ndarray, "rows columns"]
    ) -> Float32[np.ndarray, "tokens vocab"]:
        """Return the probabilities of each token of one image, given what the model may see."""
        tokens = self._encode(check_images(self.info, image)).to(self.device)
        hidden = None if self.left_to_right else torch.from_numpy(mask).flatten()[None]
        labels = self._labels_of(image)
        labels = None if labels is None else labels.to(self.device)
        hidden = None if hidden is None else hidden.to(self.device)
        return self.network.logits(tokens, labels, hidden)[0].float().softmax(-1).cpu().numpy()

    def _encode(self, pixels: Tensor) -> Tokens:
        return self.codec.encode(pixels.to(self.device)).cpu()

    def _decode_tokens(self, tokens: Tokens) -> Pixels:
        return self.codec.decode(tokens.to(self.device)).cpu()

    @torch.inference_mode()
    def embed(self, images: Images, layer: int | None = None) -> Float32[np.ndarray, "n width"]:
        """Return the mean over positions of a layer's output.

        By default of the middle layer, where Chen 2020 finds the best features (section 4.1).
        Raises UsageError for a layer that does not exist.
        """
        num_layers = len(self.network.layers)
        layer = num_layers // 2 if layer is None else layer
        if not 0 <= layer <= num_layers:
            raise UsageError(f"layer must be 0 to {num_layers}, not {layer}.")
        return self.hidden_states(images)[layer]

    @torch.inference_mode()
    def hidden_states(self, images: Images) -> Float32[np.ndarray, "layers n width"]:
        """Return the means over positions of the first layer's input and each layer's output."""

        def means(pixels: Tensor) -> Tensor:
            tokens = self.codec.encode(pixels.to(self.device))
            outputs = [h.mean(1) for h in self.network.layer_outputs(tokens)]
            return torch.stack(outputs, 1).float().cpu()

        states = map_in_fixed_batches(means, check_images(self.info, images))[0]
        return states.transpose(0, 1).contiguous().numpy()

    def _labels_of(self, images: Images) -> Labels:
        if not self.label_conditional or images.labels is None:
            return None
        return torch.from_numpy(np.array(images.labels))

    @property
    def device(self) -> torch.device:
        return self.network.device


def _build_codec(config: Config, info: DatasetInfo) -> ImageCodec:
    """Build the codec; the palette or the image tokenizer's weights are loaded afterwards."""
    if config.image_tokenizer_spec is not None:
        return FrozenImageTokenizer(config.image_tokenizer_spec)
    assert config.patch_size and config.palette != "auto", "a resolved configuration"
    default = NUM_GREY_LEVELS if config.palette == "levels" else DEFAULT_PALETTE_SIZE
    size = config.palette_size or default
    return PaletteCodec(info, config.patch_size, size, config.palette)
