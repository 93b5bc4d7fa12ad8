"""Images as sequences of integer codes, and back: by a palette, or by a frozen image tokenizer.

A codec has `grid` (rows and columns of codes), `num_codes`, `encode(pixels)` and `decode(codes)`.
Codes are in raster order; `decode` shows a code below 0, which is not generated yet, as mid-grey.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.models.packed import build_packed, pack_model
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
        self.tokenizer: Any = build_packed(spec)
        self.grid: tuple[int, int] = self.tokenizer.grid
        self.num_codes: int = self.tokenizer.vocab_size

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
    packed = pack_model(run_name, tokenizer, info, "image tokenizer")
    assert tokenizer is not None, "checked"
    return PackedTokenizer(
        packed.spec,
        info.height // tokenizer.grid[0],
        tokenizer.vocab_size,
        tokenizer.fsq_levels,
        {f"tokenizer.{name}": tensor.cpu() for name, tensor in packed.tensors.items()},
    )
