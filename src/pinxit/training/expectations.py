"""What so many images allow, said before a training begins."""

from __future__ import annotations

from pinxit.console import pluralize
from pinxit.models import get_family

VERY_FEW_IMAGES, FEW_IMAGES = 100, 1_000  # for training
GENERATING = ("sample", "draw")  # abilities


def describe_expectation(family: str, num_images: int) -> str:
    """Return what to expect of a generator trained on these few images; "" of enough images."""
    if num_images >= FEW_IMAGES or not set(GENERATING) & set(get_family(family).ABILITIES):
        return ""
    if num_images < VERY_FEW_IMAGES:
        return f"{pluralize(num_images, 'image')}: expect copies and mixtures of them"
    return f"{num_images:,} images are few: expect variations of them"
