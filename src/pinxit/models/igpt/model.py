"""iGPT as a torch module."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor, nn

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.data.images import Images
from pinxit.data.masks import composite
from pinxit.data.psnr import psnr
from pinxit.errors import PinxitError, UsageError
from pinxit.models.generation import TOKENS, GenerationParams, resolve_params
from pinxit.models.igpt.config import Config
from pinxit.models.igpt.generate import UNMASK_STEPS, Asked, filling
from pinxit.models.image_codecs import FrozenImageTokenizer
from pinxit.models.inputs import check_images, check_mask, label_index
from pinxit.models.results import Loss
from pinxit.nn.chunking import map_in_fixed_batches
from pinxit.nn.layers import LabelEmbedding
from pinxit.nn.palette import (
    DEFAULT_PALETTE_SIZE,
    PaletteKind,
    Tokens,
    dequantize,
    initial_palette,
    quantize,
)
from pinxit.nn.pixels import patchify
from pinxit.nn.positions import rotary_cache
from pinxit.nn.rng import mix_seed, per_image_uniform
from pinxit.nn.token_sampling import SamplingParams
from pinxit.nn.transformer import Block, build_norm

Labels = Int64[Tensor, " batch"] | None
Logits = Float[Tensor, "batch tokens colors"]
Missing = Bool[np.ndarray, "n height width"]


class IGPT(nn.Module):
    """A palette, and a transformer over the numbers of its colours in raster order."""

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        super().__init__()
        assert config.patch_size and config.width and config.depth and config.heads, "resolved"
        self.config, self.info = config, info
        self.patch_size: int = config.patch_size
        self.rows, self.columns = info.height // self.patch_size, info.width // self.patch_size
        self.seq_len = self.rows * self.columns
        self.causal = self.left_to_right = config.objective == "autoregressive"
        assert config.palette != "auto", "a resolved configuration"
        self.palette_kind: PaletteKind = config.palette
        default = 256 if config.palette == "levels" else DEFAULT_PALETTE_SIZE
        colors = config.palette_size or default
        numbers, width = info.channels * self.patch_size**2, config.width
        self.codes = None
        if config.image_tokenizer_spec is not None:
            self.codes = FrozenImageTokenizer(config.image_tokenizer_spec)
        else:
            self.register_buffer("palette", initial_palette(self.palette_kind, colors, numbers))
        self.register_buffer("exact", torch.tensor(config.palette == "binary"))
        self.embedding = nn.Embedding(colors, width)
        self.places = (
            nn.Parameter(torch.empty(self.seq_len, width))
            if config.pos_embed == "learned"
            else None
        )
        classes = len(info.label_names) if config.condition == "label" else 0
        self.start = LabelEmbedding(classes, width)  # of no label: the start token
        self.hidden_token = None if self.causal else nn.Parameter(torch.empty(width))
        self.layers = nn.ModuleList(
            Block(width, config.heads, 4.0, config.norm, config.activation)
            for _ in range(config.depth)
        )
        self.norm = build_norm(config.norm, width)
        self.head = nn.Linear(width, colors, bias=False)
        self.drop = nn.Dropout(config.dropout)
        self._start()

    palette: Tensor
    exact: Tensor

    def _start(self) -> None:
        """Normal weights of deviation 0.02, those that end a branch smaller (Radford 2019)."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for token in (self.places, self.hidden_token):
            if token is not None:
                nn.init.normal_(token, std=0.02)
        for layer in self.layers:
            assert isinstance(layer, Block)
            for last in (layer.attention.out, layer.down):
                nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * len(self.layers)))

    # -- images and tokens ------------------------------------------------------------------

    @property
    def palette_is_exact(self) -> bool:
        """Whether the palette holds every block of the training images exactly."""
        return bool(self.exact)

    @property
    def label_conditional(self) -> bool:
        """Whether the first token is the image's label."""
        return self.config.condition == "label"

    @property
    def num_progress_steps(self) -> int:
        """How often `sample_stream` yields."""
        return self.rows if self.causal else min(UNMASK_STEPS, self.seq_len)

    @property
    def likelihood_description(self) -> str:
        """What the likelihood is over, in words."""
        if self.config.binarize == "dynamic":
            return "each test image binarized once, pixels sampled by their grey value"
        return "tokens of the palette"

    @property
    def eight_bit(self) -> bool:
        """Whether a score is one of images, not of what the palette makes of them."""
        return self.palette_is_exact

    def tokens_of(self, pixels: UInt8[Tensor, "b h w c"]) -> Tokens:
        """The tokens of images, row by row; a binary palette's pixels by the nearer."""
        if self.codes is not None:
            return self.codes.encode(pixels)
        return quantize(patchify(pixels, self.patch_size), self.palette, self.palette_kind)

    def observed(
        self, pixels: UInt8[Tensor, "b h w c"], generator: torch.Generator | None = None
    ) -> UInt8[Tensor, "b h w c"]:
        """The images whose likelihood it is: with `dynamic` binarization pixels are drawn."""
        if self.config.binarize != "dynamic":
            return pixels
        chance = torch.rand(pixels.shape, generator=generator, device=pixels.device)
        return (chance * 255 < pixels).to(torch.uint8) * 255

    def images_of(self, tokens: Tokens) -> UInt8[Tensor, "b h w c"]:
        """What the tokens stand for, in their places; a token below 0 is mid-grey."""
        if self.codes is not None:
            return self.codes.decode(tokens)
        return dequantize(tokens, self.palette, self.rows, self.patch_size)

    def palette_psnr(self, images: Images) -> float:
        """Decibels between images and what the palette makes of them; infinite where equal."""
        tokens = self.tokens_of(check_images(self.info, images).to(self.device))
        made = self.images_of(tokens).cpu().numpy()
        mse = np.square(made.astype(np.float32) - images.pixels).mean() / 255**2
        return float(psnr(mse, min_mse=0))

    # -- the equations ------------------------------------------------------------------------

    def logits(
        self, tokens: Tokens, labels: Labels = None, hidden: Bool[Tensor, "b t"] | None = None
    ) -> Logits:
        """For each place the scores of all colours.

        Autoregressive: from the tokens before it. BERT: from all but those `hidden`.
        """
        return self.head(self.norm(self._last(tokens, labels, hidden)))

    def _last(
        self, tokens: Tokens, labels: Labels, hidden: Bool[Tensor, "b t"] | None
    ) -> Float[Tensor, "batch tokens width"]:
        h = self.entered(tokens, labels, hidden)
        for layer in self.layers:
            h = self.drop(layer(h, self.causal, self.rotation(h.shape[1])))
        return h

    def entered(
        self, tokens: Tokens, labels: Labels = None, hidden: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "batch tokens width"]:
        """What the first layer sees: the start or label, then each token but the last; or, of
        BERT, each token or in its place the hidden one, with the label added."""
        start = self.start(labels, len(tokens))[:, None]
        if self.causal:
            h = torch.cat((start, self.embedding(tokens[:, :-1])), 1)
        else:
            assert self.hidden_token is not None
            h = self.embedding(tokens)
            if hidden is not None:
                h = torch.where(hidden[..., None], self.hidden_token.to(h.dtype), h)
            h = h + start
        return h if self.places is None else h + self.places

    def rotation(self, length: int) -> tuple[Tensor, Tensor] | None:
        """Angles of rotary positions, where these are rotary."""
        if self.places is not None:
            return None
        assert self.config.width and self.config.heads
        cos, sin = rotary_cache(length, self.config.width // self.config.heads)
        return cos.to(self.device), sin.to(self.device)

    def loss(self, batch: Batch, progress: float = 1.0) -> Loss:
        """-log p(x) in nats per image; of BERT the nats of a hidden token (sections 2.1, 2.2)."""
        tokens = self.tokens_of(self.observed(batch.pixels))
        labels = self._seen(batch.labels)
        if self.causal:
            return self._negative_log_likelihood(tokens, labels)
        count = min(max(1, round(self.config.mask_ratio * self.seq_len)), self.seq_len)
        chosen = torch.rand(tokens.shape, device=tokens.device).argsort(1)[:, :count]
        hidden = torch.zeros_like(tokens, dtype=torch.bool).scatter_(1, chosen, True)
        scores = self.head(self.norm(self._last(tokens, labels, hidden)[hidden]))
        nll = F.cross_entropy(scores.float(), tokens[hidden])
        return Loss(nll, {"masked_nll": nll.detach()}, "nats per masked token")

    def _negative_log_likelihood(self, tokens: Tokens, labels: Labels) -> Loss:
        scores = self.logits(tokens, labels).float()
        nll = F.cross_entropy(scores.flatten(0, 1), tokens.flatten()) * self.seq_len
        parts = {"nll": nll.detach()}
        if self.palette_is_exact:
            parts["bits_per_dim"] = nll.detach() / (self.info.dims * math.log(2))
        return Loss(nll, parts)

    def _seen(self, labels: Labels) -> Labels:
        """The labels that the model may see; some hidden in training."""
        if self.config.condition == "none" or labels is None:
            return None
        if not self.training:
            return labels
        dropped = torch.rand(labels.shape, device=labels.device) < self.config.label_dropout
        return torch.where(dropped, -1, labels)

    def log_likelihood(self, tokens: Tokens, labels: Labels = None) -> Float[Tensor, " batch"]:
        """log p of images of tokens, in nats: the sum of log p(x_t given x_1 .. x_(t-1)).

        Raises PinxitError of a model trained as BERT is: it has no likelihood.
        """
        if not self.causal:
            raise PinxitError(
                "a model of --objective bert has no likelihood: it knows each token from all "
                "others. Train one with --objective autoregressive."
            )
        log_p = self.logits(tokens, labels).float().log_softmax(-1)
        return log_p.gather(-1, tokens[..., None])[..., 0].sum(1)

    # -- abilities ----------------------------------------------------------------------------

    def sample(
        self,
        n: int,
        params: GenerationParams | None = None,
        *,
        label: str | None = None,
        **options: Any,
    ) -> Images:
        """`n` new images, token by token; image i is a function of (seed, start + i) alone.

        `temperature` 0 takes the likeliest token each time; `top_k` and `top_p` keep the likeliest
        tokens alone, so many or of so much probability. Raises UsageError for a bad number or an
        unknown label.
        """
        *_, last = self.sample_stream(n, params, label=label, **options)
        return last

    def sample_stream(
        self,
        n: int,
        params: GenerationParams | None = None,
        *,
        label: str | None = None,
        **options: Any,
    ) -> Iterator[Images]:
        """The same as they grow, row by row of tokens; grey where nothing is painted yet."""
        if n < 1:
            raise UsageError(f"the number of images must be at least 1, not {n}.")
        chosen = resolve_params(params, options, TOKENS)
        chances = SamplingParams.of(chosen)
        labels = None if label is None else self._labels(label, n)
        known = torch.full((n, self.seq_len), -1)
        for tokens in filling(
            self,
            Asked(known, labels, per_image_uniform(n, self.seq_len, chosen.seed, chosen.start)),
            chances,
        ):
            yield Images(self.images_of(tokens.to(self.device)).cpu().numpy())

    def complete(
        self,
        images: Images,
        mask: Missing,
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Images:
        """The missing pixels, painted token by token; a block with a missing pixel is missing.

        An autoregressive model sees what stands before a token in raster order and nothing after
        it, so it completes lower halves well and upper ones blindly; BERT sees all that is known.
        """
        *_, last = self.complete_stream(images, mask, params, **options)
        return last

    def complete_stream(
        self,
        images: Images,
        mask: Missing,
        params: GenerationParams | None = None,
        **options: Any,
    ) -> Iterator[Images]:
        """The same as they grow."""
        chosen = resolve_params(params, options, TOKENS)
        chances = SamplingParams.of(chosen)
        pixels = check_images(self.info, images)
        check_mask(images, mask)
        marks = torch.from_numpy(np.array(mask))[..., None].to(torch.uint8)
        unknown = patchify(marks, self.patch_size).bool().any(-1)
        if self.codes is not None:  # a code sees its neighbours: they must not tell what is missing
            hidden = marks.bool().to(self.device)
            grey = round(255 * self.info.mean)
            given = torch.where(hidden, grey, pixels.to(self.device)).to(torch.uint8)
        else:
            given = pixels.to(self.device)
        known = torch.where(unknown, -1, self.tokens_of(given).cpu())
        labels = self._labels_of(images)
        for tokens in filling(
            self,
            Asked(
                known,
                labels,
                per_image_uniform(len(known), self.seq_len, chosen.seed, chosen.start),
            ),
            chances,
        ):
            made = self.images_of(tokens.to(self.device)).cpu().numpy()
            yield Images(composite(images, made, mask))

    @torch.inference_mode()
    def score(
        self, images: Images, *, samples: int = 1, seed: int = 0
    ) -> Float32[np.ndarray, " n"]:
        """log p(x) of each image in nats, exactly: `samples` changes nothing.

        With `dynamic` binarization pixels are drawn by (seed, i). Where the palette is not
        lossless the score is of what it makes of the images.
        """
        pixels = check_images(self.info, images)
        tokens = torch.cat([self._drawn(pixels[i : i + 1], seed, i) for i in range(len(pixels))])

        def score(tokens: Tensor, labels: Tensor | None) -> Tensor:
            chosen = None if labels is None else labels.to(self.device)
            return self.log_likelihood(tokens.to(self.device), chosen).cpu()

        return map_in_fixed_batches(score, tokens, self._labels_of(images))[0].numpy()

    def _drawn(self, pixels: Tensor, seed: int, number: int) -> Tokens:
        generator = torch.Generator().manual_seed(mix_seed(seed, number))
        return self.tokens_of(self.observed(pixels, generator).to(self.device)).cpu()

    @torch.inference_mode()
    def embed(self, images: Images, layer: int | None = None) -> Float32[np.ndarray, "n width"]:
        """The mean over the places of a layer's output; the middle layer's unless said, where the
        paper finds the best features (its section 4.1)."""
        layer = len(self.layers) // 2 if layer is None else layer
        if not 0 <= layer <= len(self.layers):
            raise UsageError(f"layers are numbered 0 to {len(self.layers)}, not {layer}.")
        return self.hidden_states(images)[layer]

    @torch.inference_mode()
    def hidden_states(self, images: Images) -> Float32[np.ndarray, "layers n width"]:
        """The mean over the places of what enters the first layer, and of each layer's output."""

        def means(pixels: Tensor) -> Tensor:
            h = self.entered(self.tokens_of(pixels.to(self.device)))
            found = [h.mean(1)]
            for layer in self.layers:
                h = layer(h, self.causal, self.rotation(h.shape[1]))
                found.append(h.mean(1))
            return torch.stack(found, 1).float().cpu()

        return (
            map_in_fixed_batches(means, check_images(self.info, images))[0]
            .transpose(0, 1)
            .contiguous()
            .numpy()
        )

    def _labels(self, label: str, n: int) -> Tensor:
        return torch.full((n,), label_index(self.config, self.info, label))

    def _labels_of(self, images: Images) -> Tensor | None:
        if self.config.condition == "none" or images.labels is None:
            return None
        return torch.from_numpy(np.array(images.labels))

    @property
    def device(self) -> Any:
        return self.head.weight.device
