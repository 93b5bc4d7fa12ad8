"""Options of masked autoencoders."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.config import choose_num_heads

if TYPE_CHECKING:
    pass


MANY = 100  # patches that are enough where the patch is chosen: training time grows with them


@dataclass(frozen=True)
class Config:
    """A masked autoencoder: what is None is chosen from the images."""

    # pixels a side of a patch; None: the smallest that divides and makes at most 100 patches
    patch_size: int | None = None
    # share of the patches that the encoder does not see
    mask_ratio: float = 0.75
    # which they are: anywhere, in a few rectangles, or in a regular pattern
    masking: Literal["random", "block", "grid"] = "random"
    # predict each patch less its mean and by its deviation: better features, paler completions
    norm_pix_loss: bool = False
    # numbers a patch has in the encoder; None: chosen
    width: int | None = None
    # layers of the encoder; None: chosen
    depth: int | None = None
    # attention heads of the encoder; None: chosen
    heads: int | None = None
    # numbers a patch has in the decoder; None: chosen
    decoder_width: int | None = None
    # layers of the decoder
    decoder_depth: int = 2
    # attention heads of the decoder; None: chosen
    decoder_heads: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise UsageError(
                f"mask_ratio lies between 0 and 1 (0.75 hides 3 patches in 4), "
                f"not {self.mask_ratio:g}."
            )
        for name in ("patch_size", "depth", "heads", "decoder_depth", "decoder_heads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        for width, heads in (("width", "heads"), ("decoder_width", "decoder_heads")):
            _fits(width, getattr(self, width), heads, getattr(self, heads))

    def resolve(self, info: DatasetInfo) -> Config:
        """The same with every open choice made from the images.

        Raises UsageError for a patch that does not divide them, or is all of them.
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


def _fits(width_name: str, width: int | None, heads_name: str, heads: int | None) -> None:
    if width is None:
        return
    if width < 4 or width % 4:  # sine and cosine of rows and of columns
        raise UsageError(f"{width_name} is a multiple of 4, not {width}.")
    if heads is not None and width % heads:
        raise UsageError(f"{heads_name} {heads} does not divide {width_name} {width}.")


def _choose_patch_size(asked: int | None, info: DatasetInfo) -> int:
    common = math.gcd(info.height, info.width)
    count = {n: (info.height // n) * (info.width // n) for n in range(1, common + 1)}
    divide = [n for n in count if common % n == 0 and count[n] > 1]
    if asked is not None and asked not in divide:
        raise UsageError(
            f"patch_size {asked} does not divide images of {info.width} x {info.height} into "
            f"patches; these do: {', '.join(map(str, divide))}."
        )
    fit = [n for n in divide if n > 1 and count[n] <= MANY]
    return asked or (fit[0] if fit else divide[-1])
