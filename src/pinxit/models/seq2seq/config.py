"""Options of sequence-to-sequence models."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.config import choose_num_heads

# what a model can do, by what it reads and what it writes
DIRECTIONS = {
    "draw": ("text", "image"),
    "caption": ("image", "text"),
    "edit": ("image+text", "image"),
    "translate": ("text", "text"),
}

LONGEST = 256  # pieces of a text, where the length is chosen

FEW = 64  # patches that are enough where the patch is chosen

CODES = 256  # likewise, codes of a palette


@dataclass(frozen=True)
class Config:
    """Sequence to sequence: what is None is chosen from the images and their captions."""

    # what is read: words, an image, or both (an image, and in words what to change)
    source: Literal["text", "image", "image+text"] = "text"
    # what is written
    target: Literal["text", "image"] = "image"
    # run of an image tokenizer, whose codes are painted; None: the colours of a palette
    image_tokenizer: str | None = None
    # how the image tokenizer is built (family, config, dataset info); set in training
    image_tokenizer_spec: dict[str, Any] | None = dataclasses.field(
        default=None, metadata={"internal": True}
    )
    # pixels a side of what one colour of the palette stands for; None: chosen
    palette_patch_size: int | None = None
    # colours of the palette, or codes of the tokenizer; None: as many as there are, 512 at most
    palette_size: int | None = None
    # levels of each digit of a code; None: those of the tokenizer
    fsq_levels: tuple[int, ...] | None = None
    # how an image is read: patch by patch, or as codes. None: as codes where an image is painted
    # of it and no patch is asked for, since most of an edit is to copy
    source_encoding: Literal["patches", "codes"] | None = None
    # pixels a side of a patch; None: chosen
    patch_size: int | None = None
    # different pieces of words at most
    vocab_size: int = 2_048
    # pieces that a text may have; None: half as many again as the longest has, 256 at most. Longer
    # ones are cut in training, and refused afterwards
    max_text_tokens: int | None = None
    # numbers a token has; None: chosen
    width: int | None = None
    # layers of the encoder
    depth: int = 2
    # layers of the decoder
    decoder_depth: int = 3
    # attention heads; None: chosen
    heads: int | None = None
    # share of the numbers in each layer's output that are dropped in training
    dropout: float = 0.0
    # share of training images whose words are hidden, for guidance
    caption_dropout: float = 0.1

    def __post_init__(self) -> None:
        if (self.source, self.target) not in DIRECTIONS.values():
            ways = "; ".join(f"{a} to {b}" for a, b in DIRECTIONS.values())
            raise UsageError(f"there is no {self.source} to {self.target}; there are: {ways}.")
        for name in (
            "palette_patch_size",
            "patch_size",
            "max_text_tokens",
            "width",
            "depth",
            "decoder_depth",
            "heads",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        if self.palette_size is not None and self.palette_size < 2:
            raise UsageError(f"palette_size must be at least 2, not {self.palette_size}.")
        if self.vocab_size < 256:
            raise UsageError(f"vocab_size is 256 (the bytes) or more, not {self.vocab_size}.")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is a share below 1, not {self.dropout}.")
        if not 0 <= self.caption_dropout < 1:
            raise UsageError(f"caption_dropout is a share below 1, not {self.caption_dropout}.")
        if self.width is not None and self.heads is not None and self.width % self.heads:
            raise UsageError(f"heads {self.heads} does not divide width {self.width}.")

    @property
    def ability(self) -> str:
        """`draw`, `caption`, `edit` or `translate`."""
        pair = (self.source, self.target)
        return next(name for name, way in DIRECTIONS.items() if way == pair)

    @property
    def has_codes(self) -> bool:
        """Whether images are codes on one side."""
        return self.target == "image" or (
            self.source == "image" and self.source_encoding == "codes"
        )

    def resolve(self, info: DatasetInfo) -> Config:
        """The same with every choice made that the images' facts decide.

        Raises UsageError where there are no captions, or a side that does not divide.
        """
        if not info.languages:
            raise UsageError(
                "seq2seq learns from captions, and these images have none. A text file beside "
                "each image is one; `pinxit sources` says what else."
            )
        if self.ability == "translate" and len(info.languages) < 2:
            raise UsageError(
                "to translate, captions in two languages are needed; these are in "
                f"{' '.join(info.languages)} alone."
            )
        copies = self.target == "image" and self.patch_size is None
        width = self.width or (96 if info.dims <= 3 * 32 * 32 else 192)
        return dataclasses.replace(
            self,
            source_encoding=self.source_encoding or ("codes" if copies else "patches"),
            palette_patch_size=_side("palette_patch_size", self.palette_patch_size, info, CODES)
            if self.image_tokenizer is None
            else self.palette_patch_size,
            patch_size=_side("patch_size", self.patch_size, info, FEW),
            width=width,
            heads=self.heads or choose_num_heads(width),
        )


def variants() -> tuple[Config, ...]:
    """A configuration for each direction."""
    return tuple(Config(source=a, target=b) for a, b in DIRECTIONS.values())  # type: ignore[arg-type]


def _side(name: str, asked: int | None, info: DatasetInfo, most: int) -> int:
    common = math.gcd(info.height, info.width)
    count = {n: (info.height // n) * (info.width // n) for n in range(1, common + 1)}
    divide = [n for n in count if common % n == 0]
    if asked is not None and asked not in divide:
        raise UsageError(
            f"{name} {asked} does not divide images of {info.width} x {info.height}; these "
            f"do: {', '.join(map(str, divide))}."
        )
    return asked or next((n for n in divide if n > 1 and count[n] <= most), divide[-1])
