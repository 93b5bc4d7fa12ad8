"""Options of iGPT. The comment above a field is its help on the command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.config import check_rotary, choose_num_heads, model_config, num_patches_by_size
from pinxit.models.option_effects import DROPS_ALL_LABELS, Need, Rule

MAX_TOKENS = 1_024  # per image: the cost of attention grows with the square
MAX_DEFAULT_TOKENS = 256  # per image, for the default patch size
MAX_BINARY_BITS = 9  # pixel values per patch of a binary palette, which has 2^bits entries
SMALL_IMAGE_DIMS = 256  # height * width * channels; up to here the default network is smaller
NEEDS = (
    Need("mask_ratio", "objective masked", lambda c: c.objective == "masked"),
    Need("label_dropout", "condition label", lambda c: c.condition == "label"),
    *(
        Need(name, "a palette: no image_tokenizer", lambda c: c.image_tokenizer is None)
        for name in ("patch_size", "palette_size")
    ),
)


@model_config
@dataclass(frozen=True)
class Config:
    """iGPT. None or `auto`: chosen from the images."""

    # side of the patch of a token, in pixels; None: the smallest that gives at most 256 tokens
    patch_size: int | None = None
    # binary: all black-and-white patches; levels: grey levels of single pixels; kmeans: cluster
    # centers of the training patches
    palette: Literal["auto", "binary", "levels", "kmeans"] = "auto"
    # run of an image tokenizer whose codes are the tokens; None: the colors of a palette
    image_tokenizer: str | None = None
    # how the image tokenizer is built (family, config, dataset info); set in training
    image_tokenizer_spec: dict[str, Any] | None = dataclasses.field(
        default=None, metadata={"internal": True}
    )
    # number of palette entries, each a patch; None: 512, or all distinct patches if there are fewer
    palette_size: int | None = None
    # dynamic samples each pixel as black or white by its grey value, anew in each step; static
    # thresholds at one half; auto: static if all pixels are 0 or 255
    binarize: Literal["auto", "none", "dynamic", "static"] = "auto"
    # autoregressive: predict each token from those before it; masked: predict masked tokens from
    # all others; bert: the paper's name for it
    objective: Literal["autoregressive", "masked", "bert"] = "autoregressive"
    # fraction of the tokens that are masked, with --objective masked
    mask_ratio: float = 0.15
    # learned positional embeddings, or rotary (RoPE, Su 2021)
    pos_embed: Literal["learned", "rotary"] = "learned"
    # embedding dimension; None: 128 up to 256 values per image, else 192
    width: int | None = None
    # transformer layers; None: 4 up to 256 values per image, else 6
    depth: int | None = None
    # attention heads; None: chosen from the width
    heads: int | None = None
    # layer norm, or RMS norm as in the paper's code
    norm: Literal["layer", "rms"] = "rms"
    # gelu, or its sigmoid approximation as in the paper's code
    activation: Literal["gelu", "quick_gelu"] = "quick_gelu"
    # dropout probability, after each layer
    dropout: float = 0.0
    # label: the label's embedding replaces the start token
    condition: Literal["none", "label"] = "none"
    # probability of dropping a training image's label, so that the model also samples without one;
    # 0: without one it samples with a label at random
    label_dropout: float = 0.1

    option_needs: ClassVar[tuple[Need, ...]] = NEEDS
    training_rules: ClassVar[tuple[Rule, ...]] = (DROPS_ALL_LABELS,)

    def __post_init__(self) -> None:
        if self.objective == "bert":
            object.__setattr__(self, "objective", "masked")
        for name in ("patch_size", "width", "depth", "heads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        if self.palette_size is not None and self.palette_size < 2:
            raise UsageError(f"palette_size must be at least 2, not {self.palette_size}.")
        if not 0 < self.mask_ratio < 1:
            raise UsageError(
                f"mask_ratio must be between 0 and 1 (0.15 masks 15 of 100 tokens), "
                f"not {self.mask_ratio:g}."
            )
        if not 0 <= self.label_dropout <= 1:
            raise UsageError(f"label_dropout must be from 0 to 1, not {self.label_dropout}.")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout must be at least 0 and below 1, not {self.dropout}.")
        if self.width is not None and self.heads is not None and self.width % self.heads:
            raise UsageError(f"heads {self.heads} does not divide width {self.width}.")

    def resolve(self, info: DatasetInfo) -> Config:
        """Return the configuration with every None and `auto` chosen from the images.

        The size of a fitted palette stays None until `prepare`. Raises UsageError for a patch size
        that does not divide the images or gives too many tokens, and for a palette that does not
        fit the patch size.
        """
        if self.condition == "label" and not info.label_names:
            raise UsageError("--condition label needs images with labels; these have none.")
        sized = self._resolve_network(info)
        if self.image_tokenizer is not None:
            return sized._resolve_image_tokenizer()
        return sized._resolve_palette(info)

    def _resolve_network(self, info: DatasetInfo) -> Config:
        small = info.dims <= SMALL_IMAGE_DIMS
        width = self.width or (128 if small else 192)
        heads = self.heads or choose_num_heads(width)
        if self.pos_embed == "rotary":
            check_rotary(width, heads)
        return dataclasses.replace(
            self,
            width=width,
            depth=self.depth or (4 if small else 6),
            heads=heads,
        )

    def _resolve_image_tokenizer(self) -> Config:
        """Resolve all but patch and palette size, which `prepare` takes from the tokenizer."""
        if self.palette not in ("auto", "kmeans") or self.binarize not in ("auto", "none"):
            raise UsageError(
                "--image-tokenizer replaces the palette: leave out --palette and --binarize."
            )
        # palette is unused: the tokenizer's codes replace it
        return dataclasses.replace(self, palette="kmeans", binarize="none")

    def _resolve_palette(self, info: DatasetInfo) -> Config:
        binarize = self.binarize
        if binarize == "auto":
            black_and_white = info.binary_fraction == 1 and self.palette != "kmeans"
            binarize = "static" if black_and_white else "none"
        binary = self.palette == "binary" or (self.palette == "auto" and binarize != "none")
        patch_size = _choose_patch_size(self.patch_size, info, binary)
        palette = self.palette
        if palette == "auto":
            single = _is_single_value(patch_size, info)
            palette = "binary" if binary else "levels" if single else "kmeans"
        if palette == "binary" and binarize == "none":
            binarize = "static"
        resolved = dataclasses.replace(
            self, patch_size=patch_size, palette=palette, binarize=binarize
        )
        _check_palette(resolved, patch_size, info)
        if palette != "binary":
            return resolved
        return dataclasses.replace(resolved, palette_size=2 ** (patch_size**2 * info.channels))


def _is_single_value(patch_size: int, info: DatasetInfo) -> bool:
    """Return whether a patch is a single grey pixel."""
    return patch_size == 1 and info.channels == 1


def _choose_patch_size(patch_size: int | None, info: DatasetInfo, binary: bool) -> int:
    num_tokens = num_patches_by_size(info)
    size = f"{info.width} x {info.height}"
    fitting = [n for n in num_tokens if num_tokens[n] <= MAX_TOKENS]
    if binary:
        fitting = [n for n in fitting if n**2 * info.channels <= MAX_BINARY_BITS]
    names = ", ".join(map(str, fitting)) or "none; choose another --size"
    if patch_size is not None and patch_size not in num_tokens:
        raise UsageError(
            f"patch_size {patch_size} does not divide images of {size}; these do and fit: {names}."
        )
    if patch_size is not None and num_tokens[patch_size] > MAX_TOKENS:
        raise UsageError(
            f"images of {size} with patch_size {patch_size} are {num_tokens[patch_size]:,} tokens, "
            f"above the maximum of {MAX_TOKENS:,}. Patch sizes that fit: {names}."
        )
    if not fitting:
        raise UsageError(
            f"images of {size} are more than {MAX_TOKENS:,} tokens for every patch_size that "
            f"divides them ({', '.join(map(str, num_tokens))}); choose a smaller --size."
        )
    default = next((n for n in fitting if num_tokens[n] <= MAX_DEFAULT_TOKENS), fitting[-1])
    return patch_size or default


def _check_palette(config: Config, patch_size: int, info: DatasetInfo) -> None:
    """Raises UsageError for a palette that does not fit the patch size, its size or binarize."""
    palette, palette_size = config.palette, config.palette_size
    bits = patch_size**2 * info.channels
    if palette == "binary" and bits > MAX_BINARY_BITS:
        raise UsageError(
            f"a binary palette of patch_size {patch_size} has 2^{bits} entries; choose a smaller "
            "--patch-size, or --palette kmeans."
        )
    if palette == "binary" and palette_size not in (None, 2**bits):
        raise UsageError(f"a binary palette here has {2**bits} entries, not {palette_size}.")
    if palette == "levels" and not _is_single_value(patch_size, info):
        raise UsageError("--palette levels needs --patch-size 1 and --color grey.")
    if palette == "levels" and palette_size is not None and palette_size > 256:
        raise UsageError(f"--palette levels has at most 256 entries, not {palette_size}.")
    if palette != "binary" and config.binarize in ("dynamic", "static"):
        raise UsageError(f"--binarize {config.binarize} needs --palette binary, not {palette}.")
