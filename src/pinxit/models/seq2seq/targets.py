"""What a sequence-to-sequence model writes: text tokens, or the codes of an image."""

from __future__ import annotations

from pinxit.data.batch import DatasetInfo
from pinxit.models.image_codecs import PaletteCodes, TokenizerCodes
from pinxit.models.seq2seq.config import Config


def _codes_of(config: Config, info: DatasetInfo) -> PaletteCodes | TokenizerCodes:
    assert config.block, "a resolved configuration"
    if config.tokens is not None:
        return TokenizerCodes(info, config.block)
    return PaletteCodes(info, config.block, config.colors or 512)
