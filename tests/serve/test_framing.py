"""Edits keep the proportions of their image, and lose nothing of it; small images keep edges."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from pinxit.data.batch import DatasetInfo
from pinxit.serve.media.framing import choose_frame
from pinxit.serve.media.outputs import MAX_PIXEL_SIDE, OutputSpec, enlarge
from pinxit.serve.media.uploads import EditMask, open_upload
from tests.serve.server import TOOLS, data_url, decode_png, make_mask, make_png

SIZES = [(400, 100), (100, 400), (64, 64), (301, 17), (9, 250)]
sides = st.integers(2, 120)


def to_png(image: Image.Image) -> bytes:
    with io.BytesIO() as file:
        image.save(file, "PNG")
        return file.getvalue()


def quadrants(width: int, height: int) -> Image.Image:
    """An image of which no part is like another."""
    y, x = np.mgrid[0:height, 0:width]
    red, blue = np.where(2 * x < width, 250, 10), np.where(2 * y < height, 250, 10)
    return Image.fromarray(np.dstack([red, np.full_like(red, 128), blue]).astype(np.uint8))


@settings(deadline=None)
@given(sides, sides, st.integers(8, 32), st.integers(8, 32))
def test_what_a_model_reads_and_gives_back_is_the_whole_image(width, height, columns, rows):
    # else a pixel of the model holds both halves of a side
    assume(min(columns / width, rows / height) * min(width, height) >= 3)
    info = DatasetInfo(9, rows, columns, 3)
    source = open_upload(to_png(quadrants(width, height)))
    frame = choose_frame(source.size, (columns, rows))
    pixels = source.fit_to(info, frame)
    assert pixels.shape == (rows, columns, 3)
    spec = OutputSpec(source.size, source=source, frame=frame)
    image = spec.render(pixels)  # of a model that changes nothing
    assert image.size == (width, height)
    corners = [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]
    for corner in corners:
        before, after = source.original.getpixel(corner), image.getpixel(corner)
        assert np.abs(np.subtract(before, after)).max() < 125, corner


@settings(deadline=None)
@given(sides, sides, st.integers(4, 32), st.integers(4, 32), st.data())
def test_every_masked_pixel_is_in_what_the_model_reads(width, height, columns, rows, data):
    mask = np.zeros((height, width), bool)
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom, right = data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    mask[top:bottom, left:right] = True
    frame = choose_frame((width, height), (columns, rows), mask)
    assert frame.read_mask(mask).any()
    if frame.window is not None:
        x0, y0, x1, y1 = frame.window
        assert 0 <= x0 <= left < right <= x1 <= width
        assert 0 <= y0 <= top < bottom <= y1 <= height
    source = open_upload(to_png(quadrants(width, height)))
    spec = OutputSpec(source.size, source=source, mask=EditMask(mask), frame=frame)
    after = np.asarray(spec.render(np.full((rows, columns, 3), 77, np.uint8)))
    before = np.asarray(source.original)
    assert (after[mask] == 77).all()
    assert (after[~mask] == before[~mask]).all()


@pytest.mark.parametrize("size", SIZES)
def test_an_edit_has_the_size_of_its_image(client, size):
    content = make_png(size)
    edited = client.images.edit(image=content, prompt="a hat")
    assert decode_png(edited.data[0].b64_json).size == size
    with pytest.warns(DeprecationWarning, match="deprecated"):
        varied = client.images.create_variation(image=content, model="blobs-vae")
    assert decode_png(varied.data[0].b64_json).size == size
    parts = [{"type": "input_text", "text": "a hat"}]
    parts += [{"type": "input_image", "image_url": data_url(content)}]
    response = client.responses.create(
        model="gpt-5", input=[{"role": "user", "content": parts}], tools=TOOLS
    )
    assert decode_png(response.output[0].result).size == size
    assert response.output[0].size == f"{size[0]}x{size[1]}"


def test_another_size_than_the_images_is_padded_and_not_cut(client):
    edited = client.images.edit(image=make_png((400, 100)), prompt="a hat", size="256x256")
    image = np.asarray(decode_png(edited.data[0].b64_json).convert("RGB"))
    assert image.shape == (256, 256, 3)
    assert (image[:90] == image[0, 0]).all(), "above it is one color"
    assert (image[170:] == image[0, 0]).all()


def test_a_mask_far_from_the_middle_is_filled_in(client):
    size, box = (400, 100), (380, 10, 396, 90)
    content = make_png(size)
    response = client.images.edit(image=content, mask=make_mask(size, box), prompt="x")
    after = np.asarray(decode_png(response.data[0].b64_json))
    before = np.asarray(Image.open(io.BytesIO(content)))
    changed = (after != before).any(-1)
    assert changed[10:90, 380:396].mean() > 0.9
    changed[10:90, 380:396] = False
    assert not changed.any()


@pytest.mark.parametrize("output_format", ["png", "jpeg"])
def test_transparent_pixels_outside_of_a_mask_stay_transparent(client, output_format):
    image = Image.new("RGBA", (32, 32), (200, 10, 10, 0))
    image.paste((10, 200, 10, 255), (8, 8, 24, 24))
    response = client.images.edit(
        model="gpt-image-1", image=to_png(image), mask=make_mask((32, 32), (12, 12, 20, 20)),
        prompt="x", output_format=output_format,
    )  # fmt: skip
    after = decode_png(response.data[0].b64_json)
    if output_format == "png":
        assert np.array_equal(np.asarray(after)[:8], np.asarray(image)[:8])
        assert np.asarray(after)[12:20, 12:20, 3].min() == 255
        assert response.background == "transparent"
    else:
        assert np.asarray(after)[:6].min() > 240, "white, not what the alpha hides"
        assert response.background == "opaque"


@pytest.mark.parametrize(("model", "is_mask"), [
    (None, True), ("dall-e-2", True), ("gpt-image-1", False), ("gpt-image-1.5", False),
    ("gpt-5", False), ("blobs-igpt", False),
])  # fmt: skip
def test_an_images_own_alpha_is_a_mask_for_dall_e_2_alone(client, model, is_mask):
    image = Image.new("RGBA", (32, 32), (200, 10, 10, 0))
    image.paste((10, 200, 10, 255), (8, 8, 24, 24))
    options = {} if model is None else {"model": model}
    response = client.images.edit(image=to_png(image), prompt="x", **options)
    after = np.asarray(decode_png(response.data[0].b64_json).convert("RGB"))
    kept = (after[8:24, 8:24] == (10, 200, 10)).all()
    assert kept == is_mask


# -- small images ----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 60), st.integers(0, 60))
def test_the_pixels_of_a_small_image_stay_squares(width, height, more_width, more_height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    target = width + more_width, height + more_height
    large = np.asarray(enlarge(Image.fromarray(pixels), *target))
    assert large.shape[:2] == target[::-1]
    assert set(large.min((0, 1)) >= pixels.min((0, 1))) == {True}
    if target[0] >= 3 * width and target[1] >= 3 * height:  # the middle of each is its color
        x = ((np.arange(width) + 0.5) * target[0] / width).astype(int)
        y = ((np.arange(height) + 0.5) * target[1] / height).astype(int)
        assert np.array_equal(large[np.ix_(y, x)], pixels)
    if target[0] % width == target[1] % height == 0:
        factors = target[1] // height, target[0] // width
        assert np.array_equal(large, pixels.repeat(factors[0], 0).repeat(factors[1], 1))


def test_large_images_are_resampled_smoothly():
    pixels = np.zeros((8, MAX_PIXEL_SIDE + 8, 3), np.uint8)
    pixels[:, ::2] = 200
    large = np.asarray(enlarge(Image.fromarray(pixels), 3 * pixels.shape[1] + 1, 24))
    assert len(np.unique(large)) > 2


def test_the_size_of_a_request_keeps_the_models_pixels(client):
    own = client.images.generate(prompt="a blob", extra_body={"seed": 3})
    large = client.images.generate(prompt="a blob", size="256x256", extra_body={"seed": 3})
    small = np.asarray(decode_png(own.data[0].b64_json))
    assert np.array_equal(np.asarray(decode_png(large.data[0].b64_json))[16::32, 16::32], small)
