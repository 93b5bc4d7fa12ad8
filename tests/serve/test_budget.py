"""What one request makes the server decode is bounded, and done outside of the event loop."""

from __future__ import annotations

import io
import threading
from functools import partial

import httpx
import openai
import pytest
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from pinxit.data.batch import DatasetInfo
from pinxit.serve.errors import ApiError
from pinxit.serve.media import sources
from pinxit.serve.media.sources import ImageSources, RequestImages
from pinxit.serve.media.uploads import open_upload
from tests.serve.server import TOOLS, data_url, make_mask, make_png


def make_large(side: int = 6000) -> bytes:
    """A small file of 36 megapixels."""
    with io.BytesIO() as file:
        Image.new("1", (side, side)).save(file, "PNG", compress_level=9)
        return file.getvalue()


LARGE = data_url(make_large())
PART = {"type": "input_image", "image_url": LARGE}
SMALL = {"type": "input_image", "image_url": data_url(make_png())}


class Decoded:
    """The size of each image that is decoded, and the thread in which."""

    def __init__(self, monkeypatch):
        self.sizes: list[tuple[int, int]] = []
        self.threads: set[str] = set()
        load_prepare = ImageFile.ImageFile.load_prepare

        def record_and_load(image):
            self.sizes.append(image.size)
            self.threads.add(threading.current_thread().name)
            load_prepare(image)

        monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", record_and_load)


@pytest.fixture
def decoding(monkeypatch):
    return Decoded(monkeypatch)


def requests_above_the_budget(client):
    different = [{**PART, "image_url": data_url(make_large(6000 + i))} for i in range(3)]
    message = [{"role": "user", "content": different}]
    chat = [{"type": "image_url", "image_url": {"url": part["image_url"]}} for part in different]
    mask = data_url(make_large())
    masked = [{"type": "image_generation", "input_image_mask": {"image_url": mask}}]
    two = [{"role": "user", "content": different[:2]}]
    return {
        "responses": lambda: client.responses.create(model="gpt-5", input=message),
        "a stream": lambda: client.responses.create(model="gpt-5", input=message, stream=True),
        "with a mask": lambda: client.responses.create(model="gpt-5", input=two, tools=masked),
        "chat": lambda: client.chat.completions.create(
            model="gpt-5", messages=[{"role": "user", "content": chat}]
        ),
        "embeddings": lambda: client.embeddings.create(
            model="blobs-vae", input=[part["image_url"] for part in different]
        ),
    }


@pytest.mark.parametrize("name", ["responses", "a stream", "with a mask", "chat", "embeddings"])
def test_many_large_images_are_refused_before_one_is_decoded(client, decoding, name):
    with pytest.raises(openai.BadRequestError) as error:
        requests_above_the_budget(client)[name]()
    assert error.value.code == "image_too_large"
    assert "the maximum is 100" in str(error.value)
    assert decoding.sizes == []


def test_only_the_images_that_are_used_are_decoded_and_counted(client, decoding):
    items = [{"role": "user", "content": [PART, PART, PART]}, {"role": "user", "content": [SMALL]}]
    client.responses.create(model="gpt-5", input=items)
    assert decoding.sizes == [(8, 8)]


def test_an_image_that_is_sent_twice_is_decoded_once(client, decoding):
    response = client.responses.create(
        model="gpt-5", input=[{"role": "user", "content": [SMALL, SMALL]}]
    )
    assert response.output_text.startswith("1. ")
    assert decoding.sizes == [(8, 8)]


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(monkeypatch):
    with io.BytesIO() as file:
        Image.new("RGB", (3000, 2000), (200, 30, 30)).save(file, "JPEG")
        upload, sizes = open_upload(file.getvalue()), []
    load_prepare = JpegImageFile.load_prepare
    monkeypatch.setattr(
        JpegImageFile, "load_prepare", lambda i: (sizes.append(i.size), load_prepare(i))
    )
    pixels = upload.fit_to(DatasetInfo(9, 16, 16, 3))
    assert abs(pixels.astype(int) - (200, 30, 30)).max() < 6
    assert sizes == [(375, 250)]


def test_nothing_is_decoded_on_the_event_loop(client, decoding, tmp_path):
    content, mask = make_png((20, 12)), make_mask((20, 12), (8, 4, 14, 12))
    client.images.edit(image=content, prompt="x")
    client.images.edit(image=content, mask=mask, prompt="x")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        client.images.create_variation(image=content)
    client.embeddings.create(model="blobs-vae", input=data_url(content))
    part = {"type": "input_image", "image_url": data_url(content)}
    masked = {"type": "image_generation", "input_image_mask": {"image_url": data_url(mask)}}
    for tools in ([], TOOLS, [masked]):
        client.responses.create(
            model="gpt-5", input=[{"role": "user", "content": [part]}], tools=tools
        )
    client.files.create(file=("a.png", content), purpose="vision")
    body = {"run": "blobs-caption", "image": data_url(content)}
    studio = str(client.base_url).replace("/v1/", "/studio/data/captions")
    assert httpx.post(studio, json=body).status_code == 200
    assert decoding.threads
    assert all(name.startswith("pinxit-") for name in decoding.threads), decoding.threads


@pytest.mark.parametrize(
    ("bound", "value"), [("MAX_REQUEST_IMAGES", 2), ("MAX_REQUEST_BYTES", 300)]
)
def test_the_number_and_the_bytes_of_images_are_bounded(monkeypatch, bound, value):
    monkeypatch.setattr(sources, bound, value)
    loader = RequestImages(ImageSources())
    urls = [data_url(make_png((8, 8 + i))) for i in range(9)]
    with pytest.raises(ApiError, match="more than"):
        list(map(partial(loader.load_url, param="input"), urls))
    once = RequestImages(ImageSources())
    assert len({id(once.load_url(urls[0], "input")) for _ in range(50)}) == 1


def form(*parts: tuple[str, str | None, bytes]) -> tuple[bytes, dict[str, str]]:
    body = b""
    for name, file, content in parts:
        end = f'; filename="{file}"' if file else ""
        body += f'--x\r\nContent-Disposition: form-data; name="{name}"{end}\r\n\r\n'.encode()
        body += content + b"\r\n"
    return body + b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


PNG = make_png()
IMAGE_PART, PROMPT_PART = ("image", "a", PNG), ("prompt", None, b"x")


@pytest.mark.parametrize(("route", "parts", "param"), [
    ("images/edits", [IMAGE_PART, ("cat", "b", PNG), PROMPT_PART], "cat"),
    ("images/edits", [IMAGE_PART, ("image[]", "b", PNG), PROMPT_PART], "image"),
    ("images/edits", [IMAGE_PART, PROMPT_PART, ("prompt", None, b"y")], "prompt"),
    ("images/edits", [IMAGE_PART, ("mask[]", "a", PNG), ("mask", "a", PNG), PROMPT_PART], "mask"),
    ("images/variations", [("image", "a", PNG), ("mask", "b", PNG)], "mask"),
    ("files", [("file", "a", PNG), ("purpose", None, b"vision"), ("other", "b", PNG)], "other"),
    ("files", [("file", "a", PNG), ("purpose", None, b"vision"),
               ("expires_after[seconds]", None, b"3600")], "expires_after[seconds]"),
])  # fmt: skip
def test_no_part_of_a_form_is_dropped_in_silence(base_url, route, parts, param):
    body, headers = form(*parts)
    answer = httpx.post(f"{base_url}/v1/{route}", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_mask_may_be_named_as_a_list(base_url):
    mask = make_mask((8, 8), (0, 0, 8, 4))
    parts = [("image[]", "a", PNG), ("mask[]", "m", mask), ("prompt", None, b"x")]
    body, headers = form(*parts)
    answer = httpx.post(f"{base_url}/v1/images/edits", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
