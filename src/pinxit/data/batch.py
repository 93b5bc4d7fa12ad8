"""What flows through pinxit, declared once.

| name   | type and shape                           | range                              |
| ------ | ---------------------------------------- | ---------------------------------- |
| pixels | uint8 `[batch, height, width, channel]`  | 0 black .. 255 white, at rest      |
| x      | float32 `[batch, channel, height, width]`| in a model, which states its range |
| z      | float32 `[batch, latent]`                | latents; the prior is N(0, I)      |
| labels | int64 `[batch]`                          | 0 .. classes-1, -1 for none        |

Nothing here imports torch: the command line reads these declarations for its help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pinxit.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Int64, UInt8
    from torch import Tensor

# one seed, from which image i gets `mix_seed(seed, start + i)`; or the seed of each image
Seed: TypeAlias = int | Sequence[int]


@dataclass(frozen=True)
class DatasetInfo:
    """What a model must know of its images to be built, and to be loaded again without them."""

    count: int  # training images
    height: int
    width: int
    channels: int  # 1 grey, 3 colour
    label_names: tuple[str, ...] = ()  # empty where images have no labels
    binary_fraction: float = 0.0  # share of the training pixels' values that are 0 or 255
    near_binary_fraction: float = 0.0  # share that are below 32 or above 223
    mean: float = 0.5  # of all pixel values, on a scale of 0 to 1
    std: float = 0.25  # likewise
    languages: tuple[str, ...] = ()  # of the captions

    @property
    def dims(self) -> int:
        """Numbers in an image: height x width x channels."""
        return self.height * self.width * self.channels

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> DatasetInfo:
        record = dict(record)
        for name in ("label_names", "languages"):
            record[name] = tuple(record.get(name, ()))
        return cls(**record)

    def label_index(self, label: str) -> int:
        """The class number of a label's name (or of the number itself, as text).

        Raises UsageError where there is no such label.
        """
        if label in self.label_names:
            return self.label_names.index(label)
        if label.isdigit() and int(label) < len(self.label_names):
            return int(label)
        if not self.label_names:
            raise UsageError("these images have no labels, so none can be asked for.")
        raise UsageError(f"no label '{label}'; there are: {', '.join(self.label_names)}.")


@dataclass(frozen=True)
class Batch:
    """What a step of training sees."""

    pixels: UInt8[Tensor, "batch height width channel"]
    labels: Int64[Tensor, " batch"] | None = None
    captions: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by language; "" for none
    # the image that each was made from, where it was
    before: UInt8[Tensor, "batch height width channel"] | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: Any) -> Batch:
        labels = None if self.labels is None else self.labels.to(device)
        before = None if self.before is None else self.before.to(device)
        return Batch(self.pixels.to(device), labels, self.captions, before)
