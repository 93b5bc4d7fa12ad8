"""Images as sequences of integer codes, and back: by a palette, or by a frozen image tokenizer.

A codec has `grid` (rows and columns of codes), `num_codes`, `encode(pixels)` and `decode(codes)`.
Codes are in raster order; `decode` shows a code below 0, which is not generated yet, as mid-grey.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, NamedTuple, Protocol

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models import family_of, get_family
from pinxit.models.config import config_from_dict
from pinxit.nn.palette import MID_GREY, PaletteKind, dequantize, initial_palette, quantize
from pinxit.nn.pixels import patchify

Codes = Int64[Tensor, "batch codes"]
Pixels = UInt8[Tensor, "batch height width channel"]


class PaletteCodec(nn.Module):
    """The code of a patch is the index of the nearest palette entry."""

    palette: Tensor

    def __init__(
        self, info: DatasetInfo, patch_size: int, size: int, kind: PaletteKind = "kmeans"
    ) -> None:
        super().__init__()
        self.patch_size, self.num_codes = patch_size, size
        self.kind: PaletteKind = kind
        self.grid = (info.height // patch_size, info.width // patch_size)
        patch_dim = info.channels * patch_size**2
        self.register_buffer("palette", initial_palette(kind, size, patch_dim))

    def encode(self, pixels: Pixels) -> Codes:
        """Return the codes of images."""
        return quantize(patchify(pixels, self.patch_size), self.palette, self.kind)

    def decode(self, codes: Codes) -> Pixels:
        """Return the images of codes."""
        return dequantize(codes, self.palette, self.grid[0], self.patch_size)


class FrozenImageTokenizer(nn.Module):
    """The codes of a trained image tokenizer. Its weights are buffers: nothing trains them.

    `spec` says how the tokenizer is built, see `pack_image_tokenizer`. It is part of the model's
    configuration, so a model loads without the tokenizer's own run folder.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # do not shift the draws of the trained weights
            tokenizer = _build_tokenizer(spec)
        self.grid: tuple[int, int] = tokenizer.grid
        self.num_codes: int = tokenizer.vocab_size
        self.tokenizer: Any = freeze(tokenizer)

    def train(self, mode: bool = True) -> FrozenImageTokenizer:
        """Stay in evaluation mode."""
        return super().train(False)

    def encode(self, pixels: Pixels) -> Codes:
        """Return the codes of images, in float32."""
        with torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
            return self.tokenizer.pixels_to_codes(pixels).flatten(1)

    def decode(self, codes: Codes) -> Pixels:
        """Return the images of codes."""
        pixels = self.tokenizer.codes_to_pixels(codes.clamp(min=0).unflatten(1, self.grid))
        if bool((codes >= 0).all()):
            return pixels
        patch_size = pixels.shape[1] // self.grid[0]
        missing = (codes < 0).unflatten(1, self.grid)
        missing = missing.repeat_interleave(patch_size, 1).repeat_interleave(patch_size, 2)
        return torch.where(missing[..., None], torch.full_like(pixels, MID_GREY), pixels)


ImageCodec = PaletteCodec | FrozenImageTokenizer


class ImageTokenizerModel(Protocol):
    """The interface of a trained image tokenizer, a torch module, that a codec uses."""

    config: Any
    info: DatasetInfo
    grid: tuple[int, int]
    vocab_size: int
    fsq_levels: tuple[int, ...]  # of each digit of a code; empty if codes have no digits

    def pixels_to_codes(self, pixels: Pixels) -> Int64[Tensor, "batch rows columns"]: ...
    def codes_to_pixels(self, codes: Int64[Tensor, "batch rows columns"]) -> Pixels: ...
    def state_dict(self) -> dict[str, Any]: ...


class PackedTokenizer(NamedTuple):
    """A trained image tokenizer as the configuration and tensors of another model."""

    spec: dict[str, Any]  # family, config and dataset info, as JSON
    patch_size: int  # pixels per side of a code
    num_codes: int
    fsq_levels: tuple[int, ...]
    tensors: dict[str, Tensor]  # the state dict of a `FrozenImageTokenizer`


def pack_image_tokenizer(
    run_name: str, tokenizer: ImageTokenizerModel | None, info: DatasetInfo
) -> PackedTokenizer:
    """Pack a trained image tokenizer for a model of images with these facts.

    Raises UsageError if it is None, or was trained on images of another shape.
    """
    if tokenizer is None:
        raise UsageError(f"the image tokenizer {run_name} was not loaded.")
    shapes = [f"{d.height}x{d.width}x{d.channels}" for d in (tokenizer.info, info)]
    if shapes[0] != shapes[1]:
        raise UsageError(
            f"the image tokenizer takes images of {shapes[0]} (height, width, channels), not "
            f"{shapes[1]}; load them with the --size and --color that it was trained with."
        )
    spec = {
        "family": family_of(tokenizer.config),
        "config": dataclasses.asdict(tokenizer.config),
        "dataset_info": tokenizer.info.to_json(),
    }
    tensors = {f"tokenizer.{name}": t.cpu() for name, t in tokenizer.state_dict().items()}
    return PackedTokenizer(
        json.loads(json.dumps(spec)),  # as config.json holds it: lists in place of tuples
        info.height // tokenizer.grid[0],
        tokenizer.vocab_size,
        tokenizer.fsq_levels,
        tensors,
    )


def _build_tokenizer(spec: dict[str, Any]) -> Any:
    family = get_family(spec["family"])
    config = config_from_dict(family.Config, spec["config"])
    return family.build(config, DatasetInfo.from_json(spec["dataset_info"]))


def freeze(module: nn.Module) -> nn.Module:
    """Replace all parameters by buffers, in place: no optimizer or running average sees them."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            del part._parameters[name]
            part.register_buffer(name, parameter.detach())
    return module.eval()
