"""What a sequence-to-sequence model writes: text tokens, or the codes of an image."""

from __future__ import annotations

from pinxit.data.batch import DatasetInfo
from pinxit.models.image_codecs import FrozenImageTokenizer, PaletteCodec
from pinxit.models.seq2seq.config import Config


def _codes_of(config: Config, info: DatasetInfo) -> PaletteCodec | FrozenImageTokenizer:
    assert config.palette_patch_size, "a resolved configuration"
    if config.image_tokenizer_spec is not None:
        return FrozenImageTokenizer(config.image_tokenizer_spec)
    return PaletteCodec(info, config.palette_patch_size, config.palette_size or 512)
