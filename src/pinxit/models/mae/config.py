"""Options of the MAE. The comment above a field is its help on the command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.config import choose_num_heads, model_config, num_patches_by_size

MAX_DEFAULT_PATCHES = 100  # for the default patch size


@model_config
@dataclass(frozen=True)
class Config:
    """A masked autoencoder. None: chosen from the images."""

    # patch size in pixels; None: the smallest above 1 that gives at most 100 patches
    patch_size: int | None = None
    # fraction of the patches that are masked
    mask_ratio: float = 0.75
    # mask random patches, blocks (rectangles of patches, as in BEiT), or all but a regular grid
    masking: Literal["random", "block", "grid"] = "random"
    # predict pixels standardized by patch: better features, worse completions (He 2021, table 1d)
    norm_pix_loss: bool = False
    # embedding dimension of the encoder; None: 96 up to 256 values per image, else 192
    width: int | None = None
    # encoder layers; None: 3 up to 256 values per image, else 6
    depth: int | None = None
    # attention heads of the encoder; None: chosen from its width
    heads: int | None = None
    # embedding dimension of the decoder; None: 64 up to 256 values per image, else 128
    decoder_width: int | None = None
    # decoder layers
    decoder_depth: int = 2
    # attention heads of the decoder; None: chosen from its width
    decoder_heads: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise UsageError(
                f"mask_ratio must be between 0 and 1 (0.75 masks 3 of 4 patches), "
                f"not {self.mask_ratio:g}."
            )
        for name in ("patch_size", "depth", "heads", "decoder_depth", "decoder_heads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        for width, heads in (("width", "heads"), ("decoder_width", "decoder_heads")):
            _check_width(width, getattr(self, width), heads, getattr(self, heads))

    def resolve(self, info: DatasetInfo) -> Config:
        """Return the configuration with every None chosen from the images.

        Raises UsageError for a patch size that does not divide the images, or gives one patch.
        """
        patch_size = _choose_patch_size(self.patch_size, info)
        small = info.dims <= 256
        width = self.width or (96 if small else 192)
        decoder_width = self.decoder_width or (64 if small else 128)
        return dataclasses.replace(
            self,
            patch_size=patch_size,
            width=width,
            depth=self.depth or (3 if small else 6),
            heads=self.heads or choose_num_heads(width),
            decoder_width=decoder_width,
            decoder_heads=self.decoder_heads or choose_num_heads(decoder_width),
        )


def _check_width(width_name: str, width: int | None, heads_name: str, heads: int | None) -> None:
    if width is None:
        return
    if width < 4 or width % 4:  # sine and cosine of the row and of the column
        raise UsageError(f"{width_name} must be a multiple of 4, not {width}.")
    if heads is not None and width % heads:
        raise UsageError(f"{heads_name} {heads} does not divide {width_name} {width}.")


def _choose_patch_size(patch_size: int | None, info: DatasetInfo) -> int:
    num_patches = num_patches_by_size(info)
    divisors = [n for n in num_patches if num_patches[n] > 1]
    if patch_size is not None and patch_size not in divisors:
        raise UsageError(
            f"patch_size {patch_size} does not divide images of {info.width} x {info.height} into "
            f"patches; these do: {', '.join(map(str, divisors))}."
        )
    small = [n for n in divisors if n > 1 and num_patches[n] <= MAX_DEFAULT_PATCHES]
    return patch_size or (small[0] if small else divisors[-1])
