"""/v1/images and the smaller routes with the official client, and broken input without it."""

from __future__ import annotations

import base64
import io
import json
import zlib

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

import pinxit
from pinxit.nn.rng import mix_seed
from tests.serve.server import data_url, make_png, mask, opened


def test_images_from_words_differ_and_a_seed_repeats_them(client):
    asked = {"model": "gpt-image-1", "prompt": "a blob", "n": 2, "extra_body": {"seed": 9}}
    one, two = client.images.generate(**asked), client.images.generate(**asked)
    assert len(one.data) == 2
    assert one.data[0].b64_json != one.data[1].b64_json
    assert [d.b64_json for d in one.data] == [d.b64_json for d in two.data]


def test_of_several_tries_the_captioning_run_chooses(client, runs):
    """The image is the one that `--reranker` keeps; a run that answers alone has no reranker."""
    asked: dict = {"prompt": "a blob at the top left", "extra_body": {"seed": 3, "best_of": 4}}
    painter, captions = (pinxit.load(runs[f"blobs-{name}"]) for name in ("painter", "captions"))
    for name, reranker in (("pinxit", captions), ("blobs-painter", None)):
        found = client.images.generate(model=name, n=4, **asked)
        seeds = [mix_seed(3, i) for i in range(4)]
        text = found.data[0].revised_prompt
        wanted = painter.draw([text] * 4, seed=seeds, best_of=4, reranker=reranker)
        for one, pixels in zip(found.data, wanted.pixels, strict=True):
            shown = opened(one.b64_json).resize(pixels.shape[1::-1], 0).convert("L")
            assert np.array_equal(np.asarray(shown), pixels[..., 0])


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_size_and_format_are_as_asked_and_the_answer_says_that_it_is_resampled(client, kind):
    found = client.images.generate(prompt="a blob", size="48x32", output_format=kind)
    image = opened(found.data[0].b64_json)
    assert (image.size, image.format.lower()) == ((48, 32), kind)
    assert found.resampled_from == "8x8"
    assert client.images.generate(prompt="a blob").resampled_from is None


def test_an_edit_under_a_mask_keeps_every_other_pixel(client):
    sent = make_png((20, 12))
    found = client.images.edit(
        image=sent, mask=mask((20, 12), (8, 4, 14, 12)), prompt="what fits", n=2
    )
    before = np.asarray(Image.open(io.BytesIO(sent)))
    after = np.asarray(opened(found.data[0].b64_json).convert("RGB"))
    kept = np.ones((12, 20), bool)
    kept[4:12, 8:14] = False
    assert after.shape == before.shape
    assert (after == before)[kept].all()
    assert (after != before)[~kept].any()


def test_edits_take_one_image_or_several_and_json(client, base):
    for image in (make_png(), [make_png()], [make_png(), make_png((4, 4))]):
        found = client.images.edit(image=image, prompt="a hat", size="16x16")
        assert opened(found.data[0].b64_json).size == (16, 16)
    body = {
        "model": "gpt-image-1",
        "prompt": "a hat",
        "images": [{"image_url": data_url(make_png())}],
    }
    answer = httpx.post(f"{base}/v1/images/edits", json=body)
    assert answer.status_code == 200, answer.text


def test_a_stream_ends_with_the_whole_image(client):
    events = list(client.images.generate(prompt="a blob", stream=True, partial_images=2))
    kinds = [event.type for event in events]
    assert kinds == [*["image_generation.partial_image"] * 2, "image_generation.completed"]
    assert opened(events[-1].b64_json).size == (8, 8)


def test_a_url_serves_the_image(client):
    found = client.images.generate(prompt="a blob", response_format="url")
    answer = httpx.get(found.data[0].url)
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (8, 8)


def test_variations_are_near_their_image_and_differ(client):
    asked = {"image": make_png(), "n": 2, "model": "blobs-vae"}
    with pytest.warns(DeprecationWarning, match="deprecated"):
        found = client.images.create_variation(**asked)
    assert found.data[0].b64_json != found.data[1].b64_json


def test_models_are_runs_with_abilities_and_names_that_stand_for_them(client):
    found = {one.id: one for one in client.models.list()}
    assert found["blobs-vae"].abilities == sorted(client.models.retrieve("blobs-vae").abilities)
    assert "draw" in found["blobs-painter"].abilities
    assert found["gpt-5"].stands_for == "all runs"
    with pytest.raises(openai.NotFoundError, match="blobs-vae"):
        client.models.retrieve("org/none:v1")


def test_chat_reads_images_and_paints(client):
    image = {"type": "image_url", "image_url": {"url": data_url(make_png())}}
    message = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}
    said = client.chat.completions.create(model="gpt-4o", messages=[message])
    assert said.choices[0].message.content
    pieces = client.chat.completions.create(model="gpt-4o", messages=[message], stream=True)
    text = "".join(one.choices[0].delta.content or "" for one in pieces)
    assert text == said.choices[0].message.content
    drawn = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "Draw a blob"}]
    )
    assert drawn.choices[0].message.content.startswith("![image](data:image/png;base64,")


def test_embeddings_are_the_models_own(client, runs):
    import pinxit
    from pinxit.serve.media.uploads import received

    model = pinxit.load(runs["blobs-vae"])
    own = model.embed(pinxit.Images(received(make_png()).fitted(model.info)[None]))[0]
    found = client.embeddings.create(
        model="blobs-vae", input=[data_url(make_png())] * 2, encoding_format="float"
    )
    np.testing.assert_allclose(found.data[1].embedding, own, rtol=1e-5)
    with pytest.raises(openai.BadRequestError, match="cannot embed"):
        client.embeddings.create(model="blobs-painter", input=[data_url(make_png())])


# -- broken input ---------------------------------------------------------------------------------


def bomb(side: int = 20_000) -> bytes:
    """A small PNG that says it has 400 megapixels."""
    row = b"\0" * (1 + side // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + crc

    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


BROKEN = [
    (b"", "empty_image_file"),
    (b"hello", "invalid_image_format"),
    (make_png((64, 64))[:90], "invalid_image_format"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "invalid_image_format"),
    (bomb(), "image_too_large"),
]


@pytest.mark.parametrize(("content", "code"), BROKEN)
def test_broken_images_are_refused(client, content, code):
    with pytest.raises(openai.BadRequestError) as told:
        client.images.edit(image=("../../x.png", content, "image/png"), prompt="x")
    assert (told.value.param, told.value.code) == ("image", code)


@pytest.mark.parametrize("url", [
    "data:image/png;base64,@@", "data:image/png,abc", "cat.png", "", "file:///etc/passwd",
    "http://127.0.0.1/x.png", "http://169.254.169.254/", "https://example.com/x.png",
])  # fmt: skip
def test_other_urls_are_refused(client, url):
    parts = [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": url}]
    with pytest.raises(openai.BadRequestError) as told:
        client.responses.create(model="gpt-5", input=[{"role": "user", "content": parts}])
    assert "image_url" in told.value.param


@pytest.mark.parametrize(("holes", "code"), [
    (mask((4, 4), (0, 0, 2, 2)), "invalid_image_size"),
    (make_png((8, 8)), "invalid_image_mode"),
    (b"no mask", "invalid_image_format"),
    (mask((8, 8), (0, 0, 0, 0)), None),
])  # fmt: skip
def test_masks_that_do_not_fit_are_refused(client, holes, code):
    with pytest.raises(openai.BadRequestError) as told:
        client.images.edit(image=make_png(), mask=holes, prompt="x")
    assert (told.value.param, told.value.code) == ("mask", code)


@pytest.mark.parametrize("changes", [
    {"n": 0}, {"n": 1000}, {"n": "two"}, {"n": 1.5}, {"n": True}, {"n": 2**70},
    {"size": "banana"}, {"size": "0x0"}, {"size": "1x100000"}, {"size": 5}, {"size": "٢x٢"},
    {"prompt": ""}, {"prompt": "   "}, {"prompt": 5}, {"prompt": None}, {"prompt": "x" * 32_001},
    {"output_format": "bmp"}, {"quality": "ultra"}, {"background": "plaid"},
    {"output_compression": 101}, {"response_format": "pdf"}, {"seed": -1}, {"guidance": -1},
    {"temperature": "hot"}, {"top_p": 0},
])  # fmt: skip
def test_fields_that_cannot_be_are_refused_by_name(base, changes):
    body = {"prompt": "x", **changes}
    answer = httpx.post(f"{base}/v1/images/generations", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, next(iter(changes)))
    assert error["message"]


@pytest.mark.parametrize(("content", "media", "status"), [
    (b"{", "application/json", 400), (b"", "application/json", 400),
    (b"[1]", "application/json", 400), (b'{"prompt": NaN}', "application/json", 400),
    (b"\xff\xfe", "application/json", 400), (b"[" * 100_000, "application/json", 400),
    (b'{"prompt": "\\ud800"}', "application/json", 400), (b"{}", "text/plain", 415),
    (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "application/json", 400),
])  # fmt: skip
def test_bodies_that_are_no_json_are_refused(base, content, media, status):
    answer = httpx.post(
        f"{base}/v1/images/generations", content=content, headers={"Content-Type": media}
    )
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_unknown_routes_and_ways_are_errors_in_json(base):
    assert httpx.get(f"{base}/v1/none").json()["error"]["message"] == "there is no such route."
    wrong = httpx.get(f"{base}/v1/images/generations")
    assert wrong.status_code == 405
    assert json.loads(wrong.text)["error"]["type"] == "invalid_request_error"


def test_an_image_of_any_mode_is_read(client):
    for mode in ("L", "1", "P", "LA", "RGBA", "CMYK"):
        kind = "TIFF" if mode == "CMYK" else "PNG"
        content = make_png(mode=mode, kind="JPEG" if kind == "TIFF" else kind)
        found = client.images.edit(image=content, prompt="x")
        assert base64.b64decode(found.data[0].b64_json)
