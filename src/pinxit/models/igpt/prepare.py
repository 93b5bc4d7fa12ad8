"""What is fitted to the training data before the model is built: the palette."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pinxit.data.batch import DatasetInfo
from pinxit.models.igpt.config import Config

if TYPE_CHECKING:
    import numpy as np

    from pinxit.data.images import Images


def prepare(
    config: Config,
    info: DatasetInfo,
    images: Images,
    rows: np.ndarray,
    seed: int,
    tokenizer: Any = None,
) -> tuple[Config, dict[str, Any]]:
    """The palette of the training images, or the frozen tokenizer, for the model's buffers.

    Raises UsageError where more colours are asked for than there are, or the tokenizer is of other
    images.
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
        return config, {f"codes.{name}": tensor for name, tensor in packed.tensors.items()}
    from pinxit.nn.palette import PaletteSpec, fit_palette

    assert config.patch_size and config.palette != "auto", "a resolved configuration"
    spec = PaletteSpec(config.palette, config.patch_size, config.palette_size)
    palette, exact = fit_palette(spec, images, rows, seed)
    config = dataclasses.replace(config, palette_size=len(palette))
    return config, {"palette": palette, "exact": exact}
