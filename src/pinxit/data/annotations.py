"""What is known about images beside their pixels, in a line."""

from __future__ import annotations

from pinxit.console import pluralize
from pinxit.data.captions import describe_captions
from pinxit.data.images import Images
from pinxit.data.keywords import describe_keywords


def describe_annotations(images: Images) -> str:
    """Return `captions: 37 of 40 images, en 37, fr 20; labels: 10 classes`; keywords likewise."""
    parts = []
    if captions := describe_captions(images):
        parts.append(f"captions: {captions}")
    if keywords := describe_keywords(images):
        parts.append(f"keywords: {keywords}")
    if images.labels is not None and images.label_names:
        parts.append(f"labels: {_describe_labels(images)}")
    text = "; ".join(parts) or "no captions, no labels"
    return f"{text} (of the sample)" if images.stream else text


def _describe_labels(images: Images) -> str:
    count = len(images.label_names)
    classes = f"{count:,} class" + ("" if count == 1 else "es")
    labeled = 0 if images.labels is None else int((images.labels >= 0).sum())
    partly = f" of {labeled:,} of {pluralize(len(images), 'image')}"
    return classes + (partly if labeled < len(images) else "")
