"""Options of the image tokenizer. The comment above a field is its help on the command line."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.config import model_config, num_patches_by_size
from pinxit.models.option_effects import Need

MAX_DEFAULT_TOKENS = 256  # for the default patch size
NEEDS = (
    *(
        Need(name, "quantizer vq", lambda c: c.quantizer == "vq")
        for name in ("codebook_size", "codebook_dim", "commitment")
    ),
    *(
        Need(name, "quantizer fsq", lambda c: c.quantizer == "fsq")
        for name in ("fsq_levels", "code_noise")
    ),
)


@model_config
@dataclass(frozen=True)
class Config:
    """An image tokenizer. None: chosen from the images."""

    # pixels per side of a token's patch; None: the smallest that gives at most 256 tokens
    patch_size: int | None = None
    # fsq: finite scalar quantization (Mentzer 2023); vq: a learned codebook (van den Oord 2017)
    quantizer: Literal["fsq", "vq"] = "fsq"
    # levels per dimension (fsq); their product is the number of codes
    fsq_levels: tuple[int, ...] = (8, 5, 5, 5)
    # probability of shifting an FSQ code by one level during training, so that small errors of the
    # generator decode to similar patches
    code_noise: float = 0.1
    # number of codes (vq)
    codebook_size: int = 1024
    # dimension of a codebook vector (vq)
    codebook_dim: int = 16
    # weight of the commitment loss (vq; van den Oord 2017, eq. 3)
    commitment: float = 0.25
    # extra pixels around the patch that the encoder sees
    patch_overlap: int = 1
    # channels of encoder and decoder; None: 64 up to 64 x 64 color pixels per image, else 128
    width: int | None = None
    # residual blocks in encoder and decoder
    depth: int = 3
    # weight of the L1 error in the reconstruction loss; the rest is MSE
    l1_weight: float = 0.0

    option_needs: ClassVar[tuple[Need, ...]] = NEEDS

    def __post_init__(self) -> None:
        for name in ("patch_size", "codebook_size", "codebook_dim", "width", "depth"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        if self.patch_overlap < 0:
            raise UsageError(f"patch_overlap must be 0 or more, not {self.patch_overlap}.")
        if not self.fsq_levels or min(self.fsq_levels) < 3:
            raise UsageError(f"fsq_levels must be 3 or more, as 8 5 5 5, not {self.fsq_levels}.")
        for name in ("code_noise", "l1_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be between 0 and 1, not {getattr(self, name)}.")
        if not 0 <= self.commitment < math.inf:
            raise UsageError(f"commitment must be 0 or more, not {self.commitment}.")

    @property
    def vocab_size(self) -> int:
        """Number of codes."""
        return math.prod(self.fsq_levels) if self.quantizer == "fsq" else self.codebook_size

    def resolve(self, info: DatasetInfo) -> Config:
        """Return the configuration with every None chosen from the images.

        Raises UsageError for a patch size that does not divide the images.
        """
        num_tokens = num_patches_by_size(info)
        if self.patch_size is not None and self.patch_size not in num_tokens:
            raise UsageError(
                f"patch_size {self.patch_size} does not divide images of {info.width} x "
                f"{info.height}; these do: {', '.join(map(str, num_tokens))}."
            )
        small = [n for n in num_tokens if num_tokens[n] <= MAX_DEFAULT_TOKENS]
        return dataclasses.replace(
            self,
            patch_size=self.patch_size or (small[0] if small else max(num_tokens)),
            width=self.width or (64 if info.dims <= 3 * 64 * 64 else 128),
        )
