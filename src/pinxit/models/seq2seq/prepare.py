"""Fit to the training data, before the model is built: text tokenizer and palette."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.seq2seq.config import MAX_DEFAULT_TEXT_TOKENS, Config

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pinxit.data.images import Images
    from pinxit.models.image_codecs import ImageTokenizerModel


def prepare(
    config: Config,
    info: DatasetInfo,
    images: Images,
    rows: np.ndarray,
    seed: int,
    tokenizer: ImageTokenizerModel | None = None,
) -> tuple[Config, dict[str, Tensor]]:
    """Train the text tokenizer on the captions of `rows`; fit the palette or pack the tokenizer.

    Returns the completed configuration, and tensors by their names in the model's state dict.
    Raises UsageError if the image tokenizer was trained on images of another shape, if there are no
    image pairs to learn edits from, and for a vocabulary smaller than that of bytes.
    """
    from pinxit.models.text_fitting import fit_text_tokenizer

    if config.ability == "edit" and images.before is None:
        raise UsageError(
            "editing is trained on pairs of images, as in `shapes-edits` or `emoji-edits`; these "
            "are single images."
        )
    config, state = fit_text_tokenizer(config, images, rows, MAX_DEFAULT_TEXT_TOKENS)
    fitted = {"text.tokenizer_state._extra_state": state}
    if not config.has_codes:
        return config, fitted
    if config.image_tokenizer is not None:
        config, codec = _pack_tokenizer(config, config.image_tokenizer, info, tokenizer)
    else:
        config, codec = _fit_palette(config, images, rows, seed)
    return config, fitted | {f"codec.{name}": tensor for name, tensor in codec.items()}


def _pack_tokenizer(
    config: Config, run_name: str, info: DatasetInfo, tokenizer: ImageTokenizerModel | None
) -> tuple[Config, dict[str, Tensor]]:
    from pinxit.models.image_codecs import pack_image_tokenizer

    packed = pack_image_tokenizer(run_name, tokenizer, info)
    config = dataclasses.replace(
        config,
        palette_patch_size=packed.patch_size,
        palette_size=packed.num_codes,
        fsq_levels=packed.fsq_levels,
        image_tokenizer_spec=packed.spec,
    )
    return config, packed.tensors


def _fit_palette(
    config: Config, images: Images, rows: np.ndarray, seed: int
) -> tuple[Config, dict[str, Tensor]]:
    from pinxit.nn.palette import PaletteSpec, fit_palette

    assert config.palette_patch_size, "a resolved configuration"
    spec = PaletteSpec("kmeans", config.palette_patch_size, config.palette_size)
    palette, _ = fit_palette(spec, images, rows, seed)
    return dataclasses.replace(config, palette_size=len(palette), fsq_levels=()), {
        "palette": palette
    }
