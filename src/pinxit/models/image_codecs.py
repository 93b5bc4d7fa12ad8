"""What a model keeps beside its own weights: the words it reads, and a frozen image tokenizer.

Both travel within the model's tensors, so that a run's folder is all that is needed: JSON as the
bytes of one tensor, a tokenizer's weights as tensors that do not learn.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.saved_state import Kept, as_tensor
from pinxit.nn.palette import coloured, nearest, unprepared
from pinxit.nn.pixels import blocks_of

Codes = Int64[Tensor, "batch codes"]
Pixels = UInt8[Tensor, "batch height width channel"]


class PaletteCodes(nn.Module):
    """Images as the nearest colours of a palette, block by block."""

    palette: Tensor

    def __init__(self, info: DatasetInfo, block: int, colors: int) -> None:
        super().__init__()
        self.block = block
        self.grid = (info.height // block, info.width // block)
        numbers = info.channels * block**2
        self.register_buffer("palette", unprepared("kmeans", colors, numbers))

    def codes_of(self, pixels: Pixels) -> Codes:
        """Row by row from the top left."""
        return nearest(blocks_of(pixels, self.block), self.palette, "kmeans")

    def images_of(self, codes: Codes) -> Pixels:
        """The palette's colours in their places; a code below 0 is mid-grey."""
        return coloured(codes, self.palette, self.grid[0], self.block)


class TokenizerCodes(Kept):
    """Images as the codes of an image tokenizer that does not learn any more.

    Its networks are built as it is loaded, from its own configuration.
    """

    def __init__(self, info: DatasetInfo, block: int) -> None:
        super().__init__()
        self.grid = (info.height // block, info.width // block)
        self.inner: Any = None

    def set_extra_state(self, state: Tensor) -> None:
        from pinxit.models import get_family
        from pinxit.models.config import config_from_dict

        super().set_extra_state(state)
        module = get_family(self.record["family"])
        config = config_from_dict(module.Config, self.record["config"])
        self.inner = frozen(
            module.build(config, DatasetInfo.from_json(self.record["dataset_info"]))
        )

    def train(self, mode: bool = True) -> TokenizerCodes:
        """It stays in evaluation mode."""
        return super().train(False)

    def codes_of(self, pixels: Pixels) -> Codes:
        """Row by row from the top left."""
        with torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
            return self.inner.codes_of(pixels).flatten(1)

    def images_of(self, codes: Codes) -> Pixels:
        """The tokenizer's image; where a code is below 0, mid-grey."""
        known = self.inner.images_of(codes.clamp(min=0).unflatten(1, self.grid))
        if bool((codes >= 0).all()):
            return known
        block = known.shape[1] // self.grid[0]
        unknown = (codes < 0).unflatten(1, self.grid)
        unknown = unknown.repeat_interleave(block, 1).repeat_interleave(block, 2)
        return torch.where(unknown[..., None], torch.full_like(known, 128), known)


def of_tokenizer(named: str, model: Any, info: DatasetInfo) -> tuple[int, int, dict[str, Tensor]]:
    """Of an image tokenizer: pixels a side of a code, how many codes, and what `TokenizerCodes`
    loads.

    Raises UsageError where it is of images of another size or number of channels.
    """
    from pinxit.models import family_of

    if model is None:
        raise UsageError(f"the tokenizer of {named} was not loaded.")
    own = (model.info.height, model.info.width, model.info.channels)
    if own != (info.height, info.width, info.channels):
        raise UsageError(
            f"the tokenizer is of images of {'x'.join(map(str, own))} (height, width, channels), "
            f"these are {info.height}x{info.width}x{info.channels}; read them with the --size "
            "and --color that it was trained with."
        )
    record = {
        "family": family_of(model.config),
        "config": dataclasses.asdict(model.config),
        "dataset_info": model.info.to_json(),
    }
    inner = {f"inner.{name}": tensor.cpu() for name, tensor in model.state_dict().items()}
    tensors = {"_extra_state": as_tensor(record), **inner}
    return info.height // model.grid[0], model.vocab_size, tensors


def frozen(module: nn.Module) -> nn.Module:
    """The same with buffers in place of parameters: nothing of it learns or is averaged."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            del part._parameters[name]
            part.register_buffer(name, parameter.detach())
    return module.eval()
