"""Fit to the training data, before the model is built: text tokenizer and palette."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pinxit.console import echo, pluralize
from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.seq2seq.config import MAX_DEFAULT_TEXT_TOKENS, Config

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pinxit.data.images import Images
    from pinxit.data.text_tokenizer import TextTokenizer
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
    from pinxit.data.text_tokenizer import train_text_tokenizer
    from pinxit.models.saved_state import json_to_tensor

    if config.ability == "edit" and images.before is None:
        raise UsageError(
            "editing is trained on pairs of images, as in `shapes-edits` or `emoji-edits`; these "
            "are single images."
        )
    if config.vocab_size < 256:
        raise UsageError(f"vocab_size must be at least 256 (the bytes), not {config.vocab_size}.")
    captions = _captions_by_language(images, rows)
    text_tokenizer = train_text_tokenizer(captions, config.vocab_size)
    fitted = {"text.tokenizer_state._extra_state": json_to_tensor(text_tokenizer.to_json())}
    lengths = _count_tokens(text_tokenizer, _captions_by_language(images))
    max_text_tokens = config.max_text_tokens or _default_max_text_tokens(lengths)
    if (num_cut := sum(length > max_text_tokens for length in lengths)) > 0:
        echo(
            f"{pluralize(num_cut, 'caption')} of {len(lengths):,} longer than {max_text_tokens} "
            "tokens: the rest is not used; see --max-text-tokens"
        )
    config = dataclasses.replace(
        config,
        vocab_size=text_tokenizer.num_text_tokens,
        max_text_tokens=max_text_tokens,
    )
    if not config.has_codes:
        return config, fitted
    if config.image_tokenizer is not None:
        config, codec = _pack_tokenizer(config, config.image_tokenizer, info, tokenizer)
    else:
        config, codec = _fit_palette(config, images, rows, seed)
    return config, fitted | {f"codec.{name}": tensor for name, tensor in codec.items()}


def _captions_by_language(images: Images, rows: np.ndarray | None = None) -> dict[str, list[str]]:
    """Return all captions of these rows, or of all images."""
    from pinxit.data.captions import all_captions

    by_language = {}
    for language in images.captions:
        captions = all_captions(images, language)
        chosen = captions if rows is None else [captions[int(i)] for i in rows]
        by_language[language] = [text for texts in chosen for text in texts]
    return by_language


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


def _count_tokens(
    text_tokenizer: TextTokenizer, captions: Mapping[str, Sequence[str]]
) -> list[int]:
    return [len(text_tokenizer.encode(t)) for texts in captions.values() for t in texts]


def _default_max_text_tokens(lengths: Sequence[int]) -> int:
    longest = max(lengths, default=1)
    return min(longest + longest // 2 + 8, MAX_DEFAULT_TEXT_TOKENS)
