"""What is fitted to the training data before the model is built: text tokenizer and palette."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.seq2seq.config import LONGEST, Config

if TYPE_CHECKING:
    import numpy as np

    from pinxit.data.images import Images
    from pinxit.data.text_tokenizer import TextTokenizer


def prepare(
    config: Config,
    info: DatasetInfo,
    images: Images,
    rows: np.ndarray,
    seed: int,
    tokenizer: Any = None,
) -> tuple[Config, dict[str, Any]]:
    """Words of the training captions, and the palette or the frozen tokenizer.

    Raises UsageError where the tokenizer is of other images, or there are none to edit.
    """
    from pinxit.data.text_tokenizer import train_text_tokenizer
    from pinxit.models.saved_state import json_to_tensor

    if config.ability == "edit" and images.before is None:
        raise UsageError(
            "to learn edits, pairs of images are needed, as of `shapes-edits` or `emoji-edits`; "
            "these are single images."
        )
    told = {name: [texts[int(i)] for i in rows] for name, texts in images.captions.items()}
    words = train_text_tokenizer(told, config.vocab_size)
    tensors = {"kept._extra_state": json_to_tensor(words.to_json())}
    config = dataclasses.replace(
        config,
        vocab_size=words.bpe.get_vocab_size(),
        max_text_tokens=config.max_text_tokens or _longest(words, images.captions),
    )
    if not config.has_codes:
        return config, tensors
    config, codes = _codes(config, info, images, rows, seed, tokenizer)
    return config, tensors | {f"codes.{name}": tensor for name, tensor in codes.items()}


def _codes(
    config: Config,
    info: DatasetInfo,
    images: Images,
    rows: np.ndarray,
    seed: int,
    tokenizer: Any,
) -> tuple[Config, dict[str, Any]]:
    if config.image_tokenizer is not None:
        from pinxit.models.image_codecs import pack_image_tokenizer

        packed = pack_image_tokenizer(config.image_tokenizer, tokenizer, info)
        return dataclasses.replace(
            config,
            palette_patch_size=packed.patch_size,
            palette_size=packed.num_codes,
            fsq_levels=packed.fsq_levels,
            image_tokenizer_spec=packed.spec,
        ), packed.tensors
    from pinxit.nn.palette import PaletteSpec, fit_palette

    assert config.palette_patch_size, "a resolved configuration"
    palette, _ = fit_palette(
        PaletteSpec("kmeans", config.palette_patch_size, config.palette_size), images, rows, seed
    )
    return dataclasses.replace(config, palette_size=len(palette), fsq_levels=()), {
        "palette": palette
    }


def _longest(words: TextTokenizer, captions: Mapping[str, Sequence[str]]) -> int:
    longest = max((len(words.encode(t)) for texts in captions.values() for t in texts), default=1)
    return min(longest + longest // 2 + 8, LONGEST)
