"""Fit what the model needs before it is built: the palette, or the codes of an image tokenizer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pinxit.data.batch import DatasetInfo
from pinxit.models.igpt.config import Config

if TYPE_CHECKING:
    import numpy as np

    from pinxit.data.images import Images
    from pinxit.models.image_codecs import ImageTokenizerModel


def prepare(
    config: Config,
    info: DatasetInfo,
    images: Images,
    rows: np.ndarray,
    seed: int,
    tokenizer: ImageTokenizerModel | None = None,
) -> tuple[Config, dict[str, Any]]:
    """Return the completed configuration and the tensors for the model's buffers.

    Raises UsageError for a palette larger than the number of distinct patches, or an image
    tokenizer of images of another shape.
    """
    if config.image_tokenizer is not None:
        from pinxit.models.image_codecs import pack_image_tokenizer

        packed = pack_image_tokenizer(config.image_tokenizer, tokenizer, info)
        config = dataclasses.replace(
            config,
            patch_size=packed.patch_size,
            palette_size=packed.num_codes,
            image_tokenizer_spec=packed.spec,
        )
        return config, {f"codec.{name}": tensor for name, tensor in packed.tensors.items()}
    from pinxit.nn.palette import PaletteSpec, fit_palette

    assert config.patch_size and config.palette != "auto", "a resolved configuration"
    spec = PaletteSpec(config.palette, config.patch_size, config.palette_size)
    palette, is_exact = fit_palette(spec, images, rows, seed)
    config = dataclasses.replace(config, palette_size=len(palette))
    return config, {"codec.palette": palette, "palette_exact": is_exact}
