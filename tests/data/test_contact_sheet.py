"""Contact sheets: the text of each cell, and the images in it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pinxit.data.contact_sheet import cell_texts, contact_sheet
from pinxit.data.images import Images
from pinxit.errors import UsageError


def images(count: int, **metadata) -> Images:
    names = [f"d/{i}.png" for i in range(count)]
    return Images(np.full((count, 8, 16, 1), 90, np.uint8), names, **metadata)


def test_a_cell_shows_the_caption_or_the_label_or_the_name():
    three = images(
        3,
        labels=np.array([0, 0, -1]),
        label_names=("été",),
        captions={"en": ["one", "", ""], "fr": ["un", "", ""]},
    )
    assert cell_texts(three) == ["one", "été", "2.png"]
    assert cell_texts(three, "fr")[0] == "un"
    with pytest.raises(UsageError, match="no captions in 'de'; there are: en, fr"):
        cell_texts(three, "de")


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_a_contact_sheet_shows_every_image_enlarged(count):
    caption = "a caption so long that it has to be broken and in the end cut off somewhere " * 3
    sheet = Image.open(io.BytesIO(contact_sheet(images(count), [caption, *["é"] * (count - 1)])))
    num_grey_pixels = (np.asarray(sheet) == 90).all(-1).sum()
    assert num_grey_pixels >= count * 8 * 16 * 36  # six times as large
    assert num_grey_pixels < count * 8 * 16 * 36 * 1.05
