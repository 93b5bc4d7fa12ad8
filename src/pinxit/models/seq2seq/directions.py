"""The four directions: what each can do. Image i is a function of (seed, start + i), its caption
and, of an edit, the image before: chunks are of one size and texts padded to one length."""

from __future__ import annotations

from pinxit.models.seq2seq.image_to_text import ImageCaptioning, Translation
from pinxit.models.seq2seq.text_to_image import ImageEditing, TextToImage

CLASSES = {
    "draw": TextToImage,
    "caption": ImageCaptioning,
    "edit": ImageEditing,
    "translate": Translation,
}
