"""The tokenizer as a torch module."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor, nn

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.inputs import check_images
from pinxit.models.results import Loss
from pinxit.models.tokenizer.config import Config
from pinxit.models.tokenizer.quantizers import Quantized, quantizer
from pinxit.nn.chunking import map_in_fixed_batches
from pinxit.nn.layers import ResidualConv
from pinxit.nn.pixels import to_float, to_uint8

X = Float[Tensor, "batch channel height width"]
Grid = Int64[Tensor, "batch rows columns"]


class Tokenizer(nn.Module):
    """A code for each patch, told by the patch and its margin alone; the decoder sees them all.

    A code that hangs on what is far away cannot be foretold from the codes around it, and so not
    painted. All blocks work on the grid of codes: few large products, where convolutions at the
    image's own resolution would be many small ones.
    """

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        super().__init__()
        assert config.patch_size is not None
        assert config.width is not None, "a resolved configuration"
        self.config, self.info = config, info
        self.patch_size: int = config.patch_size
        self.vocab_size = config.vocab_size
        # of each digit of a code; a codebook's codes have none
        self.fsq_levels: tuple[int, ...] = config.fsq_levels if config.quantizer == "fsq" else ()
        self.grid = (info.height // self.patch_size, info.width // self.patch_size)
        self.quantizer = quantizer(config)
        width, numbers = config.width, info.channels * self.patch_size**2
        patch, margin = self.patch_size + 2 * config.patch_overlap, config.patch_overlap
        self.encoder = nn.Sequential(
            nn.Conv2d(info.channels, 2 * width, patch, stride=self.patch_size, padding=margin),
            *(ResidualConv(2 * width, kernel_size=1) for _ in range(config.depth)),
            nn.SiLU(),
            nn.Conv2d(2 * width, self.quantizer.dim, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(self.quantizer.dim, width, 3, padding=1),
            *(ResidualConv(width) for _ in range(config.depth)),
            nn.SiLU(),
            nn.Conv2d(width, numbers, 1),
            nn.PixelShuffle(self.patch_size),
        )

    # -- the equations ------------------------------------------------------------------------

    def quantized(self, x: X) -> Quantized:
        """A vector and a code for each place of the grid, `[batch, rows, columns, ...]`."""
        centred = (x - self.info.mean) / max(self.info.std, 0.05)
        return self.quantizer(self.encoder(centred).permute(0, 2, 3, 1).float())

    def painted(self, vectors: Float[Tensor, "batch rows columns dim"]) -> X:
        """Vectors of codes to images from 0 to 1."""
        made = self.decoder(vectors.permute(0, 3, 1, 2)).float()
        return made * max(self.info.std, 0.05) + self.info.mean

    def pixels_to_codes(self, pixels: UInt8[Tensor, "batch h w c"]) -> Grid:
        """The codes of images, row by row from the top left."""
        return self.quantized(to_float(pixels)).codes

    def codes_to_pixels(self, codes: Grid) -> UInt8[Tensor, "batch h w c"]:
        """Codes to images."""
        return to_uint8(self.painted(self.quantizer.vectors(codes)))

    def loss(self, batch: Batch, progress: float = 1.0) -> Loss:
        """Squared and absolute error of the pixels' values (0 to 1), and the commitment."""
        x = to_float(batch.pixels)
        found = self.quantized(x)
        wrong = self.painted(found.vectors) - x
        squared, absolute = wrong.square().mean(), wrong.abs().mean()
        share = self.config.l1_weight
        total = (1 - share) * squared + share * absolute
        total = total + self.config.commitment * found.commitment
        parts = {
            "squared_error": squared,
            "absolute_error": absolute,
            "perplexity": perplexity(found.codes, self.vocab_size),
        }
        if self.config.quantizer == "vq":
            parts["commitment"] = found.commitment
        return Loss(total, {name: part.detach() for name, part in parts.items()}, "error per pixel")

    # -- abilities ----------------------------------------------------------------------------

    @torch.inference_mode()
    def tokenize(self, images: Images) -> Int64[np.ndarray, "n rows columns"]:
        """The codes of each image, row by row from the top left."""
        pixels = check_images(self.info, images)

        def codes(rows: Tensor) -> Tensor:
            return self.pixels_to_codes(rows.to(self.device)).cpu()

        return map_in_fixed_batches(codes, pixels)[0].numpy()

    @torch.inference_mode()
    def detokenize(self, tokens: Int64[np.ndarray, "n rows columns"]) -> Images:
        """Codes to images. Raises UsageError for codes that do not exist or another grid."""
        tokens = np.asarray(tokens, np.int64)
        if tokens.ndim != 3 or tokens.shape[1:] != self.grid:
            raise UsageError(
                f"tokens are [n, {self.grid[0]}, {self.grid[1]}], not {list(tokens.shape)}."
            )
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.vocab_size:
            raise UsageError(f"codes are numbers from 0 to {self.vocab_size - 1}.")

        def paint(rows: Tensor) -> Tensor:
            return self.codes_to_pixels(rows.to(self.device)).cpu()

        return Images(map_in_fixed_batches(paint, torch.from_numpy(tokens))[0].numpy())

    def reconstruct(self, images: Images) -> Images:
        """Each image through its codes and back."""
        return self.detokenize(self.tokenize(images))

    @torch.inference_mode()
    def embed(self, images: Images) -> Float32[np.ndarray, "n dim"]:
        """The codes' vectors, one after another."""
        tokens = torch.from_numpy(self.tokenize(images)).to(self.device)
        return self.quantizer.vectors(tokens).flatten(1).float().cpu().numpy()

    @property
    def device(self) -> Any:
        return next(self.parameters()).device


def perplexity(codes: Int64[Tensor, "*places"], vocab_size: int) -> Float[Tensor, ""]:
    """exp of the entropy of the codes' use: how many codes it is as if were used evenly."""
    share = torch.bincount(codes.flatten(), minlength=vocab_size).float()
    share = share / share.sum()
    return torch.exp(-(share * share.clamp(min=math.exp(-40)).log()).sum())
