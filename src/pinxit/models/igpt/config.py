"""Options of iGPT."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.config import choose_num_heads

CONTEXT = 1_024  # tokens: attention's time grows with their square

ENOUGH = 256  # tokens, where the block is chosen

BITS = 9  # of a binary block: 512 tokens


@dataclass(frozen=True)
class Config:
    """iGPT: what is None or `auto` is chosen from the images."""

    # pixels a side of what one token stands for; None: the smallest that makes at most 256 tokens
    patch_size: int | None = None
    # binary: every block of black and white, nothing is lost; levels: the grey levels of single
    # pixels; kmeans: the centres of so many clusters of blocks
    palette: Literal["auto", "binary", "levels", "kmeans"] = "auto"
    # run of an image tokenizer whose codes are the tokens, in place of a palette's colours
    image_tokenizer: str | None = None
    # how the image tokenizer is built (family, config, dataset info); set in training
    image_tokenizer_spec: dict[str, Any] | None = dataclasses.field(
        default=None, metadata={"internal": True}
    )
    # tokens there are; None: 512, or all that the images have where those are fewer
    palette_size: int | None = None
    # dynamic draws each pixel anew as black or white with its grey value as probability, static
    # cuts at one half; auto: static where all pixels are 0 or 255
    binarize: Literal["auto", "none", "dynamic", "static"] = "auto"
    # autoregressive: each token from those before; bert: hidden tokens from all others
    objective: Literal["autoregressive", "masked"] = "autoregressive"
    # share of the tokens that bert hides
    mask_ratio: float = 0.15
    # a learned vector for each place, or queries and keys turned by it (Su 2021)
    pos_embed: Literal["learned", "rotary"] = "learned"
    # numbers a token has; None: chosen
    width: int | None = None
    # layers; None: chosen
    depth: int | None = None
    # attention heads; None: chosen
    heads: int | None = None
    # layer, or rms without mean and bias as in the paper's code
    norm: Literal["layer", "rms"] = "rms"
    # gelu, or its approximation by a sigmoid as in the paper's code
    activation: Literal["gelu", "quick_gelu"] = "quick_gelu"
    # share of the numbers in each layer's output that are dropped in training
    dropout: float = 0.0
    # label: the first token is the image's label
    condition: Literal["none", "label"] = "none"
    # share of training images whose label is hidden, so that one model also paints without
    label_dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("patch_size", "width", "depth", "heads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        if self.palette_size is not None and self.palette_size < 2:
            raise UsageError(f"colors must be at least 2, not {self.palette_size}.")
        if not 0 < self.mask_ratio < 1:
            raise UsageError(
                f"mask_ratio lies between 0 and 1 (0.15 hides 15 tokens in 100), "
                f"not {self.mask_ratio:g}."
            )
        if not 0 <= self.label_dropout <= 1:
            raise UsageError(f"condition_dropout is a share from 0 to 1, not {self.label_dropout}.")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share below 1, not {self.dropout}.")
        if self.width is not None and self.heads is not None and self.width % self.heads:
            raise UsageError(f"heads {self.heads} does not divide width {self.width}.")

    def resolve(self, info: DatasetInfo) -> Config:
        """The same with every choice made that the images' facts decide.

        `palette_size` of a palette that is taken from the images stays open until `prepare`.
        Raises UsageError for a block that does not divide the images, or makes too many tokens.
        """
        if self.condition == "label" and not info.label_names:
            raise UsageError("--condition label needs images with labels; these have none.")
        if self.image_tokenizer is not None:
            return self._of_a_tokenizer(info)
        binarize = self.binarize
        if binarize == "auto":
            binarize = (
                "static" if info.binary_fraction == 1 and self.palette != "kmeans" else "none"
            )
        binary = self.palette == "binary" or (self.palette == "auto" and binarize != "none")
        patch_size = _choose_patch_size(self.patch_size, info, binary)
        palette = self.palette
        if palette == "auto":
            palette = "binary" if binary else "levels" if _single(patch_size, info) else "kmeans"
        if palette == "binary" and binarize == "none":
            binarize = "static"
        _possible(palette, patch_size, binarize, self.palette_size, info)
        return dataclasses.replace(
            self._sized(info),
            patch_size=patch_size,
            palette=palette,
            binarize=binarize,
            palette_size=2 ** (patch_size**2 * info.channels)
            if palette == "binary"
            else self.palette_size,
        )

    def _of_a_tokenizer(self, info: DatasetInfo) -> Config:
        """Its codes' number and block are known when it is loaded, in `prepare`."""
        if self.palette not in ("auto", "kmeans") or self.binarize not in ("auto", "none"):
            raise UsageError(
                "--image-tokenizer takes the place of a palette: leave out --palette, --binarize."
            )
        return dataclasses.replace(self._sized(info), palette="kmeans", binarize="none")

    def _sized(self, info: DatasetInfo) -> Config:
        width = self.width or (128 if info.dims <= 256 else 192)
        return dataclasses.replace(
            self,
            width=width,
            depth=self.depth or (4 if info.dims <= 256 else 6),
            heads=self.heads or choose_num_heads(width),
        )


def _single(patch_size: int, info: DatasetInfo) -> bool:
    return patch_size == 1 and info.channels == 1


def _choose_patch_size(asked: int | None, info: DatasetInfo, binary: bool) -> int:
    """Pixels a side of a token's block."""
    common = math.gcd(info.height, info.width)
    divide = [n for n in range(1, common + 1) if common % n == 0]
    tokens = {n: (info.height // n) * (info.width // n) for n in divide}
    size = f"{info.width} x {info.height}"
    fit = [n for n in divide if tokens[n] <= CONTEXT]
    if binary:
        fit = [n for n in fit if n**2 * info.channels <= BITS]
    names = ", ".join(map(str, fit)) or "none; choose another --size"
    if asked is not None and asked not in divide:
        raise UsageError(
            f"block {asked} does not divide images of {size}; these do and fit: {names}."
        )
    if asked is not None and tokens[asked] > CONTEXT:
        raise UsageError(
            f"images of {size} in blocks of {asked} are {tokens[asked]:,} tokens; the context "
            f"holds {CONTEXT:,}. Blocks that fit: {names}."
        )
    if not fit:
        raise UsageError(
            f"images of {size} do not fit a context of {CONTEXT:,} tokens in blocks of "
            f"{', '.join(map(str, divide))} pixels; choose a smaller --size."
        )
    return asked or next((n for n in fit if tokens[n] <= ENOUGH), fit[-1])


def _possible(
    palette: str, patch_size: int, binarize: str, palette_size: int | None, info: DatasetInfo
) -> None:
    """Raises UsageError for a palette that does not go with the block or the number of colours."""
    bits = patch_size**2 * info.channels
    if palette == "binary" and bits > BITS:
        raise UsageError(
            f"a binary palette of blocks of {patch_size} pixels has 2^{bits} colours; "
            "take a smaller --patch-size, or --palette kmeans."
        )
    if palette == "binary" and palette_size not in (None, 2**bits):
        raise UsageError(f"a binary palette here has {2**bits} colours, not {palette_size}.")
    if palette == "levels" and not _single(patch_size, info):
        raise UsageError("--palette levels is of single grey pixels: --patch-size 1 --color grey.")
    if palette == "levels" and palette_size is not None and palette_size > 256:
        raise UsageError(f"there are 256 grey levels, not {palette_size}.")
    if palette != "binary" and binarize in ("dynamic", "static"):
        raise UsageError(f"--binarize {binarize} goes with --palette binary, not {palette}.")
