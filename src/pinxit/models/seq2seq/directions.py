"""Compose a model for its direction: text to image, image to text, editing, translation."""

from __future__ import annotations

from pinxit.data.batch import DatasetInfo
from pinxit.models.image_codecs import FrozenImageTokenizer, ImageCodec, PaletteCodec
from pinxit.models.seq2seq.config import Config
from pinxit.models.seq2seq.encoder_decoder import Decoder, Encoder
from pinxit.models.seq2seq.image_to_text import ImageCaptioning, Translation
from pinxit.models.seq2seq.model import Parts, Seq2Seq
from pinxit.models.seq2seq.sources import CodeSource, ImageSource, PatchSource, Source, TextSource
from pinxit.models.seq2seq.targets import CodeTarget, TextTarget
from pinxit.models.seq2seq.text_to_image import ImageEditing, TextToImage
from pinxit.models.text_embedding import TextEmbedding
from pinxit.nn.palette import DEFAULT_PALETTE_SIZE

CLASSES = {
    "draw": TextToImage,
    "caption": ImageCaptioning,
    "edit": ImageEditing,
    "translate": Translation,
}


def build_direction(config: Config, info: DatasetInfo) -> Seq2Seq:
    """Build the model of a resolved configuration.

    The order of the parts matters: each draws its initial weights when it is built.
    """
    assert config.width and config.heads, "a resolved configuration"
    size = config.width, config.heads
    text = TextEmbedding(info.languages, config.vocab_size, config.max_text_tokens or 1, size[0])
    codec = _build_codec(config, info) if config.has_codes else None
    sources: list[Source] = []
    if config.source != "image":
        sources.append(TextSource(text, *size))
    if config.source != "text":
        sources.append(_build_image_source(config, info, codec))
    encoder = Encoder(*size, config.depth, config.dropout)
    if config.target == "text":
        target = TextTarget(text, *size)
    else:
        target = _build_code_target(config, codec, sources[-1])
    decoder = Decoder(*size, config.decoder_depth, config.dropout)
    parts = Parts(text, codec, sources, encoder, target, decoder)
    return CLASSES[config.ability](config, info, parts)  # pyright: ignore[reportArgumentType]


def _build_codec(config: Config, info: DatasetInfo) -> ImageCodec:
    if config.image_tokenizer_spec is not None:
        return FrozenImageTokenizer(config.image_tokenizer_spec)
    assert config.palette_patch_size, "a resolved configuration"
    return PaletteCodec(
        info, config.palette_patch_size, config.palette_size or DEFAULT_PALETTE_SIZE
    )


def _build_image_source(
    config: Config, info: DatasetInfo, codec: ImageCodec | None
) -> PatchSource | CodeSource:
    assert config.width and config.heads and config.patch_size, "a resolved configuration"
    if config.source_encoding == "patches":
        return PatchSource(info, config.patch_size, config.width, config.heads)
    assert codec is not None
    return CodeSource(codec, config.fsq_levels or (), config.width, config.heads)


def _build_code_target(config: Config, codec: ImageCodec | None, last: Source) -> CodeTarget:
    assert config.width and config.heads and codec is not None
    is_aligned = isinstance(last, ImageSource) and last.grid == codec.grid
    return CodeTarget(codec, config.fsq_levels or (), config.width, config.heads, is_aligned)
