"""Options of sequence-to-sequence models."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.config import (
    DEFAULT_KEYWORD_SHARE,
    check_rotary,
    choose_num_heads,
    model_config,
    num_patches_by_size,
)
from pinxit.models.option_effects import Need

# ability -> (source, target)
DIRECTIONS = {
    "draw": ("text", "image"),
    "caption": ("image", "text"),
    "edit": ("image+text", "image"),
    "translate": ("text", "text"),
}

# bounds of the defaults
MAX_DEFAULT_TEXT_TOKENS = 256
MAX_DEFAULT_PATCHES = 64  # of a source image
MAX_DEFAULT_CODES = 256  # of an image as palette indices

AT_LEAST_1 = (
    "palette_patch_size", "patch_size", "vocab_size", "max_text_tokens", "width", "depth",
    "decoder_depth", "heads",
)  # fmt: skip
NEEDS = (
    Need("image_tokenizer", "images as codes", lambda c: c.has_codes),
    *(
        Need(
            name,
            "images as codes of a palette: no image_tokenizer",
            lambda c: c.has_codes and c.image_tokenizer is None,
        )
        for name in ("palette_size", "palette_patch_size")
    ),
    Need("source_encoding", "a source with an image", lambda c: "image" in c.source),
    Need(
        "patch_size",
        "a source with an image, as patches",
        lambda c: "image" in c.source and c.source_encoding == "patches",
    ),
    Need("caption_dropout", "target image", lambda c: c.target == "image"),
    Need("keyword_share", "source text and target image", lambda c: c.ability == "draw"),
)


@model_config
@dataclass(frozen=True)
class Config:
    """Sequence to sequence between text and images."""

    # input: text, an image, or an image and an instruction
    source: Literal["text", "image", "image+text"] = "text"
    # output
    target: Literal["text", "image"] = "image"
    # run of an image tokenizer whose codes represent images; None: a palette
    image_tokenizer: str | None = None
    # how the image tokenizer is built (family, config, dataset info); set in training
    image_tokenizer_spec: dict[str, Any] | None = dataclasses.field(
        default=None, metadata={"internal": True}
    )
    # side in pixels of a palette entry, a patch; None: chosen from the image size
    palette_patch_size: int | None = None
    # number of palette entries; None: 512, or all distinct patches if there are fewer
    palette_size: int | None = None
    # FSQ levels of the image codes; None: those of the image tokenizer
    fsq_levels: tuple[int, ...] | None = dataclasses.field(
        default=None, metadata={"internal": True}
    )
    # how a source image is encoded; None: as codes if the target is an image and --patch-size is
    # not set, since most of an edit is copied
    source_encoding: Literal["patches", "codes"] | None = None
    # pixels per side of a source patch; None: chosen from the image size
    patch_size: int | None = None
    # maximum number of BPE tokens in the vocabulary
    vocab_size: int = 2_048
    # maximum tokens per text; None: 1.5 x the longest caption + 8, or the longest with keywords, at
    # most 256. In training longer captions are truncated, and keywords that do not fit are left
    # out; at inference longer texts are rejected
    max_text_tokens: int | None = None
    # embedding dimension; None: 96, or 192 for images above 32 x 32
    width: int | None = None
    # encoder layers
    depth: int = 2
    # decoder layers
    decoder_depth: int = 3
    # attention heads; None: chosen from the width
    heads: int | None = None
    # dropout probability
    dropout: float = 0.0
    # probability of dropping the text in training, for classifier-free guidance
    caption_dropout: float = 0.1
    # probability that an image's text in training has some of its keywords: after the caption, or
    # alone; only from text to image
    keyword_share: float = DEFAULT_KEYWORD_SHARE

    option_needs: ClassVar[tuple[Need, ...]] = NEEDS

    def __post_init__(self) -> None:
        if (self.source, self.target) not in DIRECTIONS.values():
            known = "; ".join(f"{source} to {target}" for source, target in DIRECTIONS.values())
            raise UsageError(
                f"no direction {self.source} to {self.target}; the directions are: {known}."
            )
        for name in AT_LEAST_1:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        if self.palette_size is not None and self.palette_size < 2:
            raise UsageError(f"palette_size must be at least 2, not {self.palette_size}.")
        for name in ("dropout", "caption_dropout"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise UsageError(f"{name} must be at least 0 and below 1, not {value}.")
        if not 0 <= self.keyword_share <= 1:
            raise UsageError(f"keyword_share must be from 0 to 1, not {self.keyword_share}.")
        if self.width is not None and self.heads is not None and self.width % self.heads:
            raise UsageError(f"heads {self.heads} does not divide width {self.width}.")

    @property
    def ability(self) -> str:
        """`draw`, `caption`, `edit` or `translate`."""
        pair = (self.source, self.target)
        return next(name for name, direction in DIRECTIONS.items() if direction == pair)

    @property
    def reads_keywords(self) -> bool:
        """Whether images are drawn from text; captions and instructions have no keywords."""
        return self.ability == "draw" and self.keyword_share > 0

    @property
    def has_codes(self) -> bool:
        """Whether images are codes, as source or as target."""
        return self.target == "image" or (
            self.source == "image" and self.source_encoding == "codes"
        )

    def resolve(self, info: DatasetInfo) -> Config:
        """Return a copy in which every option that depends on the images is chosen.

        Raises UsageError if there are no captions, if a translation has only one language, if a
        patch size does not divide the images, and for an odd dimension of attention heads.
        """
        if not info.languages:
            advice = (
                "Make them from the labels: --captions labels"
                if info.label_names
                else "Put a text file beside each image, or choose another source: `pinxit sources`"
            )
            raise UsageError(
                f"seq2seq is trained on captions, and these images have none. {advice}."
            )
        if self.ability == "translate" and len(info.languages) < 2:
            raise UsageError(
                "translation needs captions in two languages; these are in "
                f"{' '.join(info.languages)} only."
            )
        palette_patch_size = self.palette_patch_size
        if self.image_tokenizer is None:
            palette_patch_size = _resolve_patch_size(
                "palette_patch_size", palette_patch_size, info, MAX_DEFAULT_CODES
            )
        patch_size = _resolve_patch_size("patch_size", self.patch_size, info, MAX_DEFAULT_PATCHES)
        prefers_codes = self.target == "image" and self.patch_size is None
        width = self.width or (96 if info.dims <= 3 * 32 * 32 else 192)
        heads = self.heads or choose_num_heads(width)
        check_rotary(width, heads)
        return dataclasses.replace(
            self,
            source_encoding=self.source_encoding or ("codes" if prefers_codes else "patches"),
            palette_patch_size=palette_patch_size,
            patch_size=patch_size,
            width=width,
            heads=heads,
        )


def variants() -> tuple[Config, ...]:
    """Return a configuration for each direction."""
    return tuple(
        Config(source=source, target=target)  # type: ignore[arg-type]
        for source, target in DIRECTIONS.values()
    )


def _resolve_patch_size(name: str, value: int | None, info: DatasetInfo, max_patches: int) -> int:
    """Check a patch size; None: the smallest above 1 with at most `max_patches`, else the largest.

    Raises UsageError for a patch size that does not divide the images.
    """
    num_patches = num_patches_by_size(info)
    if value is not None and value not in num_patches:
        raise UsageError(
            f"{name} {value} does not divide images of {info.width} x {info.height}; these "
            f"do: {', '.join(map(str, num_patches))}."
        )
    fits = (n for n in num_patches if n > 1 and num_patches[n] <= max_patches)
    return value or next(fits, max(num_patches))
