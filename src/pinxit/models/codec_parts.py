"""Parts of an image codec for other programs: images to tokens, and tokens to images."""

from __future__ import annotations

from torch import Tensor, nn

from pinxit.models.export_parts import Example, ExportPart, Value, image_value, to_image, to_pixels
from pinxit.models.image_codecs import FrozenImageTokenizer, ImageCodec


class CodecEncoder(nn.Module):
    """An image to its tokens, in raster order."""

    def __init__(self, codec: ImageCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, image: Tensor) -> Tensor:
        return self.codec.encode(to_pixels(image))


class CodecDecoder(nn.Module):
    """Tokens in raster order to an image."""

    def __init__(self, codec: ImageCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, tokens: Tensor) -> Tensor:
        if isinstance(self.codec, FrozenImageTokenizer):  # its `decode` rounds to 8 bits
            tokenizer = self.codec.tokenizer
            vectors = tokenizer.quantizer.dequantize(tokens.unflatten(1, self.codec.grid))
            return tokenizer.decode_vectors(vectors).clamp(0, 1)
        return to_image(self.codec.decode(tokens))


def codec_parts(codec: ImageCodec, name: str) -> tuple[ExportPart, ExportPart]:
    """Return `decoder` and `encoder` of an image codec; `name` is what its integers are called."""
    meaning = f"integers from 0 to {codec.num_codes - 1}, in raster order"
    tokens = Value(name, "batch token", meaning, "codes")
    decoder = ExportPart(
        "decoder",
        f"{name} to an image",
        CodecDecoder(codec),
        (tokens,),
        (image_value(),),
        lambda batch: [Example((codec.encode(batch.pixels),))],
    )
    encoder = ExportPart(
        "encoder",
        f"an image to its {name}",
        CodecEncoder(codec),
        (image_value(),),
        (tokens,),
        lambda batch: [Example((to_image(batch.pixels),))],
    )
    return decoder, encoder
