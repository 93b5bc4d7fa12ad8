"""Options of flow matching. The comment above a field is its help on the command line."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.config import DEFAULT_KEYWORD_SHARE, model_config
from pinxit.models.option_effects import Need

MAX_PIXEL_POSITIONS = 256  # of images whose pixels are modelled without a VAE
HEAD_DIM = 64
FEW_IMAGES = 2_000  # with fewer the network is smaller by default, and makes more steps
MANY_IMAGES = 20_000  # with as many it is larger
MAX_DEFAULT_TEXT_TOKENS = 64
POSITIVE = (
    "width", "depth", "heads", "text_depth", "vocab_size", "max_text_tokens", "num_clusters",
)  # fmt: skip
IMAGES_PER_CLUSTER, MAX_CLUSTERS = 10, 128
NEEDS = (
    Need("num_clusters", "condition cluster", lambda c: c.condition == "cluster"),
    Need("caption_dropout", "a condition", lambda c: c.condition != "none"),
    *(
        Need(name, "condition text", lambda c: c.condition == "text")
        for name in ("text_depth", "vocab_size", "max_text_tokens")
    ),
    Need("keyword_share", "condition text and source text", lambda c: c.reads_text),
)


@model_config
@dataclass(frozen=True)
class Config:
    """A flow from noise to the latents of images. None: chosen from the images."""

    # run of a VAE with a grid of latents, which are modelled; None: the pixels of images of at most
    # 16 x 16
    vae: str | None = None
    # what images are generated from; auto: text where images have captions, else label where they
    # have labels, else cluster: clusters of images that look alike, found before training
    condition: Literal["auto", "none", "label", "text", "cluster"] = "auto"
    # input of a model of captions: text; or pairs of an image and its edit by the text, from which
    # edits are learned
    source: Literal["text", "image+text"] = "text"
    # what the network predicts; its loss is that of the velocity in either case
    prediction: Literal["velocity", "data"] = "velocity"
    # embedding dimension; None: 96 for fewer than 2,000 images, 128 for fewer than 20,000, else 192
    width: int | None = None
    # layers; None: 4 for fewer than 2,000 images, else 6
    depth: int | None = None
    # attention heads; None: width / 64
    heads: int | None = None
    # layers of the encoder of captions
    text_depth: int = 2
    # dropout probability
    dropout: float = 0.0
    # probability of dropping caption, label or cluster in training, for classifier-free guidance
    caption_dropout: float = 0.1
    # probability that an image's text in training has some of its keywords: after the caption, or
    # alone; only for --condition text
    keyword_share: float = DEFAULT_KEYWORD_SHARE
    # share of training images that are shown in part, so that `complete` continues what is there;
    # None: a quarter of fewer than 2,000 images, else a tenth
    mask_share: float | None = None
    # maximum number of BPE tokens in the vocabulary
    vocab_size: int = 2_048
    # maximum tokens per caption; None: 1.5 x the longest caption + 8, or the longest with keywords,
    # at most 64. Keywords that do not fit are left out
    max_text_tokens: int | None = None
    # share of each batch on which shortcuts are trained: large steps, for few-step generation with
    # `--solver shortcut` (Frans 2024)
    shortcut_share: float = 0.0
    # mean of the logit of the times in training: lower means more noise
    time_mean: float = 0.0
    # standard deviation of the logit of the times in training
    time_std: float = 1.0
    # number of clusters for --condition cluster; None: one for 10 images, at most 128
    num_clusters: int | None = None
    # how the VAE is built (family, config, dataset info); set in training
    codec_spec: dict[str, Any] | None = dataclasses.field(default=None, metadata={"internal": True})

    option_needs: ClassVar[tuple[Need, ...]] = NEEDS

    def __post_init__(self) -> None:
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        for name in ("dropout", "caption_dropout", "mask_share", "shortcut_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise UsageError(f"{name} must be at least 0 and below 1, not {value}.")
        if not 0 <= self.keyword_share <= 1:
            raise UsageError(f"keyword_share must be from 0 to 1, not {self.keyword_share}.")
        if not 0 < self.time_std < math.inf:
            raise UsageError(f"time_std must be above 0, not {self.time_std}.")
        if not math.isfinite(self.time_mean):
            raise UsageError(f"time_mean must be a number, not {self.time_mean}.")

    @property
    def reads_text(self) -> bool:
        """Whether images are drawn from text; an instruction for an edit has no keywords."""
        return self.condition == "text" and self.source == "text"

    @property
    def reads_keywords(self) -> bool:
        """Whether images are drawn from text that has keywords."""
        return self.reads_text and self.keyword_share > 0

    def resolve(self, info: DatasetInfo) -> Config:
        """Return the configuration with every None chosen from the images.

        Raises UsageError for an option that these images do not allow.
        """
        if self.condition == "label" and not info.label_names:
            raise UsageError("--condition label needs images with labels; these have none.")
        if self.condition == "text" and not info.languages:
            raise UsageError("--condition text needs images with captions; these have none.")
        num_clusters = self.num_clusters or choose_num_clusters(info.num_images)
        condition = self._choose_condition(info, num_clusters)
        if condition == "cluster" and num_clusters < 2:
            raise UsageError(
                f"--condition cluster divides images into 2 clusters at least: {info.num_images} "
                "images are few; use --condition none."
            )
        if self.source == "image+text" and condition != "text":
            raise UsageError("--source image+text needs instructions: images with captions.")
        if self.vae is None and self.codec_spec is None:
            positions = info.height * info.width
            if positions > MAX_PIXEL_POSITIONS:
                raise UsageError(
                    f"images of {info.height} x {info.width} need a VAE, whose latents are "
                    "modelled: train one with `pinxit train vae --latents grid`, and name it "
                    "with --vae."
                )
        is_small = info.num_images < FEW_IMAGES
        width = self.width or (96 if is_small else 128 if info.num_images < MANY_IMAGES else 192)
        heads = self.heads or max(1, round(width / HEAD_DIM))
        if width % (4 * heads):
            raise UsageError(f"width {width} must be a multiple of 4 x {heads} heads.")
        return dataclasses.replace(
            self,
            condition=condition,
            width=width,
            heads=heads,
            depth=self.depth or (4 if is_small else 6),
            mask_share=_choose_mask_share(self.mask_share, is_small),
            num_clusters=num_clusters if condition == "cluster" else None,
        )

    def _choose_condition(
        self, info: DatasetInfo, num_clusters: int
    ) -> Literal["none", "label", "text", "cluster"]:
        if self.condition != "auto":
            return self.condition
        if info.languages:
            return "text"
        if info.label_names:
            return "label"
        return "cluster" if num_clusters >= 2 else "none"


def _choose_mask_share(given: float | None, is_small: bool) -> float:
    """Return the given share, else a small one: images shown in part teach little of captions."""
    if given is not None:
        return given
    return 0.25 if is_small else 0.1


def choose_num_clusters(num_images: int) -> int:
    """Return one cluster for 10 images, at most 128; below 2 there are none."""
    return min(num_images // IMAGES_PER_CLUSTER, MAX_CLUSTERS)
