"""Parts of an image tokenizer for other programs: images to codes, and codes to images."""

from __future__ import annotations

from torch import Tensor, nn

from pinxit.data.batch import Batch
from pinxit.models.export_parts import Example, ExportPart, Value, image_value, to_image, to_pixels
from pinxit.models.tokenizer.model import ImageTokenizer
from pinxit.nn.pixels import to_float


class Decoder(nn.Module):
    """Codes to an image."""

    def __init__(self, model: ImageTokenizer) -> None:
        super().__init__()
        self.model = model

    def forward(self, codes: Tensor) -> Tensor:
        vectors = self.model.quantizer.dequantize(codes)
        return self.model.decode_vectors(vectors).clamp(0, 1)


class Encoder(nn.Module):
    """An image to its codes."""

    def __init__(self, model: ImageTokenizer) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return self.model.pixels_to_codes(to_pixels(image))


def export_parts(model: ImageTokenizer) -> tuple[ExportPart, ...]:
    """Return decoder and encoder."""
    codes = Value(
        "codes", "batch row column", f"integers from 0 to {model.vocab_size - 1}", "codes"
    )

    def decoder_examples(batch: Batch) -> list[Example]:
        return [Example((model.quantize(to_float(batch.pixels)).codes,))]

    return (
        ExportPart(
            "decoder",
            "codes to an image",
            Decoder(model),
            (codes,),
            (image_value(),),
            decoder_examples,
        ),
        ExportPart(
            "encoder",
            "an image to its codes",
            Encoder(model),
            (image_value(),),
            (codes,),
            lambda batch: [Example((to_image(batch.pixels),))],
        ),
    )
