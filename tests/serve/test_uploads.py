"""Uploaded images are read as the training images of a model were."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from PIL import Image

from pinxit.data.batch import DatasetInfo
from pinxit.serve.errors import ApiError
from pinxit.serve.media.uploads import open_upload
from tests.data.test_decode import encode
from tests.data.test_values import chunk, icon


@pytest.mark.parametrize(("background", "level"), [("#000000", 0), ("#ffffff", 255)])
def test_an_upload_has_the_background_of_the_training_images(background, level):
    info = DatasetInfo(9, 16, 16, 1, conversion={"background": background})
    pixels = open_upload(icon((255, 255, 255))).fit_to(info)
    assert pixels[0, 0, 0] == level
    assert pixels[6, 6, 0] == 255


def test_an_upload_has_the_range_of_the_training_images():
    content = encode(Image.fromarray(np.full((16, 16), 273, np.uint16)))
    info = DatasetInfo(9, 16, 16, 1, conversion={"range": "uint8:0,255 integer:0,4095"})
    assert (open_upload(content).fit_to(info) == 17).all()


def test_a_png_with_a_large_text_is_accepted_and_a_damaged_one_is_not():
    content = encode(Image.new("RGB", (16, 16), (9, 99, 199)))
    text = chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"node " * 400_000))
    upload = open_upload(content[:33] + text + content[33:])
    assert (upload.fit_to(DatasetInfo(9, 16, 16, 3)) == [9, 99, 199]).all()
    with pytest.raises(ApiError, match="cannot be read") as error:
        open_upload(content[:33] + text + content[33:50]).check()
    assert error.value.code == "invalid_image_format"
