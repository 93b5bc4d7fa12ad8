"""The data that flows through pinxit.

| name   | type and shape                           | range                              |
| ------ | ---------------------------------------- | ---------------------------------- |
| pixels | uint8 `[batch, height, width, channel]`  | 0 (black) to 255 (white)           |
| x      | float32 `[batch, channel, height, width]`| in a model, which states its range |
| z      | float32 `[batch, latent]`                | latents; the prior is N(0, I)      |
| labels | int64 `[batch]`                          | 0 to classes - 1, -1 for none      |

Imports no torch: the command line reads these declarations for its help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from pinxit.data.typed_json import convert_json
from pinxit.data.unicode_forms import normalize_label
from pinxit.errors import PinxitError, UsageError, check_keys, did_you_mean

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float, Int64, UInt8
    from torch import Tensor

    Encoding: TypeAlias = Float[Tensor, "batch *shape"]

# of an augmentation: flip, x, y, scale, brightness, contrast, upside down, transposed, and which of
# 5 other orders of the channels
NUM_AMOUNTS = 13

MAX_PIXELS = 2**25  # of an image: what a record may ask for
MAX_IMAGES = 2**40

# one seed, from which image i gets `mix_seed(seed, start + i)`; or a seed per image
Seed: TypeAlias = int | Sequence[int]


@dataclass(frozen=True)
class DatasetInfo:
    """Size, channels, labels and statistics of the training images; saved with the model."""

    num_images: int
    height: int
    width: int
    channels: int  # 1 grey, 3 RGB
    label_names: tuple[str, ...] = ()  # empty for images without labels
    binary_fraction: float = 0.0  # fraction of pixel values that are 0 or 255
    near_binary_fraction: float = 0.0  # fraction that are below 32 or above 223
    mean: float = 0.5  # of pixel values, on a scale of 0 to 1
    std: float = 0.25  # of pixel values, on a scale of 0 to 1
    languages: tuple[str, ...] = ()  # of the captions
    # load options by which values became pixels: range, background, resample
    conversion: Mapping[str, str] = field(default_factory=dict)

    @property
    def dims(self) -> int:
        """Number of values in an image: height x width x channels."""
        return self.height * self.width * self.channels

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> DatasetInfo:
        """Return the info that `to_json` returned.

        Raises PinxitError for an unknown key, and for a value of another type or out of range.
        """
        check_keys(record, [field.name for field in fields(cls)], "dataset_info")
        info = convert_json(record, cls, "dataset_info")
        sizes = (info.height, info.width)
        if min(sizes) < 1 or info.height * info.width > MAX_PIXELS or info.channels not in (1, 3):
            raise PinxitError(
                f"dataset_info is damaged: no images of {info.width} x {info.height} with "
                f"{info.channels} channels."
            )
        if not 0 <= info.num_images <= MAX_IMAGES:
            raise PinxitError(f"dataset_info is damaged: num_images is {info.num_images}.")
        return info

    def label_index(self, label: str) -> int:
        """Return the index of a label, given by its name or by the index itself as text.

        Raises UsageError for an unknown label.
        """
        names = [normalize_label(name) for name in self.label_names]
        if normalize_label(label) in names:
            return names.index(normalize_label(label))
        if label.isascii() and label.isdecimal() and int(label) < len(self.label_names):
            return int(label)
        if not self.label_names:
            raise UsageError("these images have no labels; leave the label out.")
        hint = did_you_mean(label, self.label_names)
        raise UsageError(f"no label '{label}'; there are: {', '.join(self.label_names)}.{hint}")


@dataclass(frozen=True)
class Batch:
    """The images of a training step."""

    pixels: UInt8[Tensor, "batch height width channel"]
    labels: Int64[Tensor, " batch"] | None = None
    captions: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by language; "" for none
    # by language: the captions of each image beyond the first one
    more_captions: Mapping[str, Sequence[tuple[str, ...]]] = field(default_factory=dict)
    # by language: further texts of images, for models that draw from text
    keywords: Mapping[str, Sequence[tuple[str, ...]]] = field(default_factory=dict)
    before: UInt8[Tensor, "batch height width channel"] | None = None  # each before its edit
    augmentation: Float[Tensor, "batch amounts"] | None = None  # how much each was changed; 0: not
    # what the model's frozen encoder gives for the images as they were changed
    encoding: Encoding | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device | str) -> Batch:
        """Move the tensors to a device."""
        labels = None if self.labels is None else self.labels.to(device)
        before = None if self.before is None else self.before.to(device)
        pixels = self.pixels.to(device)
        return replace(self, pixels=pixels, labels=labels, before=before)
