"""Options of image tokenizers."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError

if TYPE_CHECKING:
    pass


# Mentzer 2023, table 1: levels of each dimension for about so many codes
LEVELS = {240: (8, 6, 5), 1000: (8, 5, 5, 5), 4375: (7, 5, 5, 5, 5), 64: (4, 4, 4), 16: (4, 4)}


@dataclass(frozen=True)
class Config:
    """An image tokenizer: what is None is chosen from the images."""

    # pixels a side of what one token stands for; None: a grid of at most 16 x 16 tokens
    patch_size: int | None = None
    # fsq rounds each number of a vector to a few levels; vq takes the nearest of a codebook
    quantizer: Literal["fsq", "vq"] = "fsq"
    # levels of each number (fsq); their product is the number of codes
    fsq_levels: tuple[int, ...] = (8, 5, 5, 5)
    # share of codes that are moved by one level in training (fsq): near codes, which what paints
    # takes for one another, come to look alike
    code_noise: float = 0.1
    # codes in the codebook (vq)
    codebook_size: int = 1024
    # numbers in a code's vector (vq)
    codebook_dim: int = 16
    # weight of the encoder's commitment to its code (vq; van den Oord 2017, eq. 3)
    commitment: float = 0.25
    # pixels around its patch that a code is told by too
    patch_overlap: int = 1
    # channels of the networks; None: chosen
    width: int | None = None
    # residual blocks in each half
    depth: int = 3
    # share of the absolute error in the loss; the rest is the squared error's
    l1_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("patch_size", "codebook_size", "codebook_dim", "width", "depth"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        if self.patch_overlap < 0:
            raise UsageError(f"patch_overlap is 0 pixels or more, not {self.patch_overlap}.")
        if not self.fsq_levels or min(self.fsq_levels) < 3:
            raise UsageError(f"fsq_levels are 3 or more each, as 8 5 5 5, not {self.fsq_levels}.")
        if not 0 <= self.code_noise <= 1:
            raise UsageError(f"code_noise is a share from 0 to 1, not {self.code_noise}.")
        if not 0 <= self.l1_weight <= 1:
            raise UsageError(f"l1_weight is a share from 0 to 1, not {self.l1_weight}.")
        if not 0 <= self.commitment < math.inf:
            raise UsageError(f"commitment must be 0 or more, not {self.commitment}.")

    @property
    def vocab_size(self) -> int:
        """Number of codes."""
        return math.prod(self.fsq_levels) if self.quantizer == "fsq" else self.codebook_size

    def resolve(self, info: DatasetInfo) -> Config:
        """The same with every open choice made from the images.

        Raises UsageError for a factor that does not divide the images' sides.
        """
        common = math.gcd(info.height, info.width)
        factors = [n for n in range(1, common + 1) if common % n == 0]
        if self.patch_size is not None and self.patch_size not in factors:
            raise UsageError(
                f"patch_size {self.patch_size} does not divide images of {info.width} x "
                f"{info.height}; these do: {', '.join(map(str, factors))}."
            )
        fits = [n for n in factors if (info.height // n) * (info.width // n) <= 256]
        patch_size = self.patch_size or (fits[0] if fits else factors[-1])
        return dataclasses.replace(
            self,
            patch_size=patch_size,
            width=self.width or (64 if info.dims <= 3 * 64 * 64 else 128),
        )
