"""Sources of a sequence-to-sequence model: text tokens, image patches, or image codes.

A source embeds its input as vectors with rotary positions and a mask; the encoder runs over the
concatenation of all sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.data.special_tokens import PAD
from pinxit.models.image_codecs import ImageCodec
from pinxit.models.seq2seq.code_embeddings import CodeEmbedding
from pinxit.models.text_embedding import TextEmbedding, Tokens
from pinxit.nn.attention import Hidden, KeyMask
from pinxit.nn.layers import SharedModule
from pinxit.nn.pixels import patchify
from pinxit.nn.positions import axial_rotary_cache, rotary_cache, sincos_2d_pos_embed

Pixels = UInt8[Tensor, "batch height width channel"]

POS_INIT_SCALE = 0.2  # of sine-cosine embeddings at the start: about as large as those of patches


class EmbeddedSource(NamedTuple):
    """A source as the encoder takes it."""

    hidden: Hidden
    rotary: Float[Tensor, "two length half"]  # cosines and sines
    mask: KeyMask  # False: padding


class TextSource(nn.Module):
    """Text tokens, with learned positional embeddings and rotary positions."""

    rotary: Tensor

    def __init__(self, text: TextEmbedding, width: int, num_heads: int) -> None:
        super().__init__()
        self.text = SharedModule(text)
        self.pos_embed = nn.Parameter(torch.empty(text.max_len, width))
        rotary = rotary_cache(text.max_len, width // num_heads)
        self.register_buffer("rotary", torch.stack(rotary), persistent=False)

    def embed(self, tokens: Tokens) -> EmbeddedSource:
        """Embed tokens; PAD is masked."""
        length = tokens.shape[1]
        hidden = self.text.module.token_embed(tokens) + self.pos_embed[:length]
        return EmbeddedSource(hidden, self.rotary[:, :length], tokens != PAD)

    def init_pos_embed(self) -> None:
        """Normal with standard deviation 0.02."""
        nn.init.normal_(self.pos_embed, std=0.02)


class ImageSource(nn.Module):
    """A grid of image cells in raster order, with axial rotary positions.

    The positional embeddings start as sines and cosines: from random ones, models learned late
    which of two objects is further left.
    """

    rotary: Tensor

    def __init__(self, grid: tuple[int, int], width: int, num_heads: int) -> None:
        super().__init__()
        self.grid = grid  # rows and columns
        self.pos_embed = nn.Parameter(torch.empty(grid[0] * grid[1], width))
        rotary = axial_rotary_cache(*grid, width // num_heads)
        self.register_buffer("rotary", torch.stack(rotary), persistent=False)

    def embed_cells(self, pixels: Pixels) -> Hidden:
        """Embed the cells of images, without positions."""
        raise NotImplementedError

    def embed(self, pixels: Pixels) -> EmbeddedSource:
        """Embed images."""
        hidden = self.embed_cells(pixels) + self.pos_embed
        mask = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        return EmbeddedSource(hidden, self.rotary, mask)

    @torch.no_grad()
    def init_pos_embed(self) -> None:
        """Sines and cosines; normal in the dimensions that a width not divisible by 4 leaves."""
        nn.init.normal_(self.pos_embed, std=0.02)
        waves = POS_INIT_SCALE * sincos_2d_pos_embed(*self.grid, self.pos_embed.shape[1])
        self.pos_embed[:, : waves.shape[1]] = waves


class PatchSource(ImageSource):
    """Image patches, normalized and projected (Dosovitskiy 2020)."""

    def __init__(self, info: DatasetInfo, patch_size: int, width: int, num_heads: int) -> None:
        super().__init__((info.height // patch_size, info.width // patch_size), width, num_heads)
        self.info, self.patch_size = info, patch_size
        self.patch_embed = nn.Linear(info.channels * patch_size**2, width)

    def embed_cells(self, pixels: Pixels) -> Hidden:
        x = (pixels.float() / 255 - self.info.mean) / max(self.info.std, 0.05)
        return self.patch_embed(patchify(x, self.patch_size))


class CodeSource(ImageSource):
    """The codes of an image codec."""

    def __init__(
        self, codec: ImageCodec, fsq_levels: Sequence[int], width: int, num_heads: int
    ) -> None:
        super().__init__(codec.grid, width, num_heads)
        self.codec = SharedModule(codec)
        self.code_embed = CodeEmbedding(codec.num_codes, fsq_levels, width)

    def embed_cells(self, pixels: Pixels) -> Hidden:
        return F.embedding(self.codec.module.encode(pixels), self.code_embed.weight_matrix())


Source = TextSource | PatchSource | CodeSource
