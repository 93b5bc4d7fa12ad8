"""Parts of a model that other programs run without pinxit: tensors in, tensors out.

A family's `export_parts(model)` returns those of a model, the most useful one first. A part is a
torch module with named inputs and outputs; axes that are named in `DYNAMIC` may have any size. A
part that ONNX cannot express is returned as a `RefusedPart`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from pinxit.data.batch import Batch

# image: 0 to 1; mean and std: of a Gaussian; logits: before a softmax; state: goes into the next
# step; values: anything else
Kind = Literal["image", "mean", "std", "logits", "codes", "state", "values"]
# axes of any size; the others have the size that the model has
DYNAMIC = ("batch", "past", "length", "source", "visible", "words")

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Value:
    """An input or an output."""

    name: str
    axes: str  # names, separated by spaces: `batch channel height width`
    meaning: str  # with the range of its values
    kind: Kind = "values"


class Example(NamedTuple):
    """Inputs, and the first outputs by the model's own methods where the module is another way."""

    inputs: Tensors
    expected: Tensors = ()


@dataclass(frozen=True)
class ExportPart:
    """A part of a model: `module` maps `inputs` to `outputs`, in their order.

    `examples` makes inputs from a batch of images, a row for each: one example or several, the
    first without a dynamic axis of size 0 or 1.
    """

    name: str
    summary: str
    module: nn.Module
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    examples: Callable[[Batch], Sequence[Example]]
    notes: dict[str, str] = field(default_factory=dict)  # further facts for whoever runs the part


class RefusedPart(NamedTuple):
    """A part that a user may expect, and why it cannot be had."""

    name: str
    reason: str  # a clause, with what to do


AnyPart = ExportPart | RefusedPart


def image_value(name: str = "image", meaning: str = "pixel values from 0 to 1") -> Value:
    """Return an image as an input or an output."""
    return Value(name, "batch channel height width", meaning, "image")


def label_value() -> Value:
    """Return the input of a label."""
    return Value("label", "batch", "number of the label, from 0; -1: none", "codes")


def to_image(pixels: Tensor) -> Tensor:
    """uint8 `[batch, height, width, channel]` to `[batch, channel, height, width]`, 0 to 1."""
    return pixels.permute(0, 3, 1, 2).float() / 255


def to_pixels(image: Tensor) -> Tensor:
    """Return the inverse of `to_image`; values between two grey levels are rounded."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def example_steps(num_steps: int) -> list[int]:
    """Return some steps of a decoder: an early one, then the middle, the last and the first."""
    early = min(2, num_steps - 1)
    return [early, *({num_steps // 2, num_steps - 1, 0} - {early})]


def labels_or_none(batch: Batch) -> Tensor:
    """Return the labels of a batch; -1 for each image that has none."""
    return torch.full((len(batch),), -1) if batch.labels is None else batch.labels
