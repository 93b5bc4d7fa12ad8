"""The image tokenizer as a torch module."""

from __future__ import annotations

import math

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
from pinxit.models.tokenizer.quantizers import Quantized, build_quantizer
from pinxit.nn.batching import map_in_fixed_batches
from pinxit.nn.layers import ResidualConv
from pinxit.nn.pixels import to_float, to_uint8

X = Float[Tensor, "batch channel height width"]
CodeGrid = Int64[Tensor, "batch rows columns"]


class ImageTokenizer(nn.Module):
    """One code per patch. The encoder sees the patch and its overlap only, the decoder all codes.

    A code that depended on distant pixels could not be predicted from the codes around it. All
    residual blocks work on the grid of codes: a few large products instead of many small
    convolutions at full resolution.
    """

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        super().__init__()
        assert config.patch_size is not None
        assert config.width is not None, "a resolved configuration"
        self.config, self.info = config, info
        self.patch_size: int = config.patch_size
        self.vocab_size = config.vocab_size
        # levels of each digit of a code; empty for a codebook, whose codes have no digits
        self.fsq_levels: tuple[int, ...] = config.fsq_levels if config.quantizer == "fsq" else ()
        self.grid = (info.height // self.patch_size, info.width // self.patch_size)
        self.mean, self.std = info.mean, max(info.std, 0.05)
        self.quantizer = build_quantizer(config)
        width, overlap = config.width, config.patch_overlap
        kernel_size = self.patch_size + 2 * overlap
        self.encoder = nn.Sequential(
            nn.Conv2d(
                info.channels, 2 * width, kernel_size, stride=self.patch_size, padding=overlap
            ),
            *(ResidualConv(2 * width, kernel_size=1) for _ in range(config.depth)),
            nn.SiLU(),
            nn.Conv2d(2 * width, self.quantizer.dim, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(self.quantizer.dim, width, 3, padding=1),
            *(ResidualConv(width) for _ in range(config.depth)),
            nn.SiLU(),
            nn.Conv2d(width, info.channels * self.patch_size**2, 1),
            nn.PixelShuffle(self.patch_size),
        )

    # -- the equations ------------------------------------------------------------------------

    def quantize(self, x: X) -> Quantized:
        """Encode images (0 to 1) to vectors `[batch, rows, columns, dim]` and their codes."""
        z = self.encoder((x - self.mean) / self.std)
        return self.quantizer(z.permute(0, 2, 3, 1).float())

    def decode_vectors(self, vectors: Float[Tensor, "batch rows columns dim"]) -> X:
        """Decode quantized vectors to images (0 to 1)."""
        x = self.decoder(vectors.permute(0, 3, 1, 2)).float()
        return x * self.std + self.mean

    def pixels_to_codes(self, pixels: UInt8[Tensor, "batch h w c"]) -> CodeGrid:
        """Return the codes of images, row by row from the top left."""
        return self.quantize(to_float(pixels)).codes

    def codes_to_pixels(self, codes: CodeGrid) -> UInt8[Tensor, "batch h w c"]:
        """Return the images of codes."""
        return to_uint8(self.decode_vectors(self.quantizer.dequantize(codes)))

    def loss(self, batch: Batch, progress: float = 1.0) -> Loss:
        """Reconstruction error of the pixels (0 to 1), plus the commitment loss."""
        x = to_float(batch.pixels)
        quantized = self.quantize(x)
        error = self.decode_vectors(quantized.vectors) - x
        mse, l1 = error.square().mean(), error.abs().mean()
        weight = self.config.l1_weight
        total = (1 - weight) * mse + weight * l1
        total = total + self.config.commitment * quantized.commitment
        parts = {"mse": mse, "l1": l1, "perplexity": perplexity(quantized.codes, self.vocab_size)}
        if self.config.quantizer == "vq":
            parts["commitment"] = quantized.commitment
        return Loss(total, {name: part.detach() for name, part in parts.items()}, "error per pixel")

    # -- abilities ----------------------------------------------------------------------------

    @torch.inference_mode()
    def tokenize(self, images: Images) -> Int64[np.ndarray, "n rows columns"]:
        """Return the codes of each image, row by row from the top left."""
        pixels = check_images(self.info, images)

        def encode(rows: Tensor) -> Tensor:
            return self.pixels_to_codes(rows.to(self.device)).cpu()

        return map_in_fixed_batches(encode, pixels)[0].numpy()

    @torch.inference_mode()
    def detokenize(self, tokens: Int64[np.ndarray, "n rows columns"]) -> Images:
        """Return the images of codes.

        Raises UsageError for codes out of range or a grid of another shape.
        """
        tokens = np.asarray(tokens, np.int64)
        if tokens.ndim != 3 or tokens.shape[1:] != self.grid:
            raise UsageError(
                f"tokens must be [n, {self.grid[0]}, {self.grid[1]}], not {list(tokens.shape)}."
            )
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.vocab_size:
            raise UsageError(f"tokens must be between 0 and {self.vocab_size - 1}.")

        def decode(rows: Tensor) -> Tensor:
            return self.codes_to_pixels(rows.to(self.device)).cpu()

        return Images(map_in_fixed_batches(decode, torch.from_numpy(tokens))[0].numpy())

    def reconstruct(self, images: Images) -> Images:
        """Encode each image to codes and decode them."""
        return self.detokenize(self.tokenize(images))

    @torch.inference_mode()
    def embed(self, images: Images) -> Float32[np.ndarray, "n dim"]:
        """Return the quantized vectors of all patches, concatenated."""
        tokens = torch.from_numpy(self.tokenize(images)).to(self.device)
        return self.quantizer.dequantize(tokens).flatten(1).float().cpu().numpy()

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def perplexity(codes: Int64[Tensor, ...], vocab_size: int) -> Float[Tensor, ""]:
    """exp of the entropy of the codes' frequencies: the effective number of codes in use."""
    flat = codes.flatten()
    # counts are exact; `bincount` would wait for the device to learn the largest code
    p = torch.zeros(vocab_size, device=codes.device).index_add_(
        0, flat, torch.ones_like(flat, dtype=torch.float)
    )
    p = p / p.sum()
    return torch.exp(-(p * p.clamp(min=math.exp(-40)).log()).sum())
