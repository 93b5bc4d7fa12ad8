"""/v1/images and the smaller routes with the official client, and invalid input without it."""

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
from PIL.PngImagePlugin import PngImageFile

import pinxit
from pinxit.nn.rng import mix_seed
from pinxit.serve.media.uploads import open_upload
from tests.serve.server import (
    data_url,
    decode_png,
    make_client,
    make_mask,
    make_png,
    serving,
)


def test_the_images_of_a_request_differ_and_a_seed_repeats_them(client):
    body = {"model": "gpt-image-1", "prompt": "a blob", "n": 2, "extra_body": {"seed": 9}}
    first, second = client.images.generate(**body), client.images.generate(**body)
    assert len(first.data) == 2
    assert first.data[0].b64_json != first.data[1].b64_json
    assert [d.b64_json for d in first.data] == [d.b64_json for d in second.data]


def test_the_captioning_run_chooses_the_best_of_several_candidates(client, runs):
    """The result equals that of `--reranker`; a run that is named alone has no reranker."""
    body: dict = {"prompt": "a blob at the top left", "extra_body": {"seed": 3, "best_of": 4}}
    model, captioner = (pinxit.load(runs[f"blobs-{name}"]) for name in ("draw", "caption"))
    for name, reranker in (("pinxit", captioner), ("blobs-draw", None)):
        response = client.images.generate(model=name, n=4, **body)
        seeds = [mix_seed(3, i) for i in range(4)]
        prompt = response.data[0].revised_prompt
        expected = model.draw([prompt] * 4, seed=seeds, best_of=4, reranker=reranker)
        for item, pixels in zip(response.data, expected.pixels, strict=True):
            image = decode_png(item.b64_json).resize(pixels.shape[1::-1], 0).convert("L")
            assert np.array_equal(np.asarray(image), pixels[..., 0])


def test_a_prompt_is_stripped_and_truncated_to_what_the_model_reads(client, runs):
    """`revised_prompt` is the text that the model was given."""
    words = "a blob at the top left " * 30
    response = client.images.generate(model="blobs-draw", prompt=f"Please draw me {words}")
    model = pinxit.load(runs["blobs-draw"])
    assert response.data[0].revised_prompt == model.truncate_text(words.strip()[2:])
    assert response.data[0].revised_prompt.startswith("blob at the top left")
    assert len(response.data[0].revised_prompt) < len(words)


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_images_have_the_requested_size_and_format_and_report_resampling(client, output_format):
    response = client.images.generate(prompt="a blob", size="48x32", output_format=output_format)
    image = decode_png(response.data[0].b64_json)
    assert (image.size, image.format.lower()) == ((48, 32), output_format)
    assert (response.resampled_from, response.actual_size) == ("8x8", "48x32")
    assert client.images.generate(prompt="a blob").resampled_from is None


def test_an_edit_keeps_every_pixel_outside_its_mask(client):
    content = make_png((20, 12))
    response = client.images.edit(
        image=content, mask=make_mask((20, 12), (8, 4, 14, 12)), prompt="what fits", n=2
    )
    before = np.asarray(Image.open(io.BytesIO(content)))
    after = np.asarray(decode_png(response.data[0].b64_json).convert("RGB"))
    outside = np.ones((12, 20), bool)
    outside[4:12, 8:14] = False
    assert after.shape == before.shape
    assert (after == before)[outside].all()
    assert (after != before)[~outside].any()


def test_an_image_and_its_mask_are_decoded_once(runs, tmp_path, monkeypatch):
    mask, decoded = make_mask((20, 12), (8, 4, 14, 12)), []
    load_prepare = PngImageFile.load_prepare

    def count_and_load(image):
        decoded.append((image.mode, image.size))
        load_prepare(image)

    monkeypatch.setattr(PngImageFile, "load_prepare", count_and_load)
    once = [("RGB", (20, 12)), ("RGBA", (20, 12))]
    with serving([runs["blobs-igpt"]], tmp_path / "s.sqlite") as base_url:
        client = make_client(base_url)
        client.images.edit(image=make_png((20, 12)), mask=mask, prompt="x", n=3)
        assert sorted(decoded) == once
        decoded.clear()
        tool = {"type": "image_generation", "input_image_mask": {"image_url": data_url(mask)}}
        image = {"type": "input_image", "image_url": data_url(make_png((20, 12)))}
        response = client.responses.create(
            model="gpt-5", input=[{"role": "user", "content": [image]}], tools=[tool]
        )
        assert sorted(decoded) == once
        assert decode_png(response.output[0].result).size == (20, 12)


def test_edits_take_an_image_a_list_of_one_and_json(client, base_url):
    for image in (make_png(), [make_png()]):
        response = client.images.edit(image=image, prompt="a hat", size="16x16")
        assert decode_png(response.data[0].b64_json).size == (16, 16)
    body = {
        "model": "gpt-image-1",
        "prompt": "a hat",
        "images": [{"image_url": data_url(make_png())}],
    }
    response = httpx.post(f"{base_url}/v1/images/edits", json=body)
    assert response.status_code == 200, response.text


def test_a_stream_ends_with_the_complete_image(client):
    events = list(client.images.generate(prompt="a blob", stream=True, partial_images=2))
    types = [event.type for event in events]
    assert types == [*["image_generation.partial_image"] * 2, "image_generation.completed"]
    assert decode_png(events[-1].b64_json).size == (8, 8)


def test_an_image_is_served_by_its_url(client):
    response = client.images.generate(prompt="a blob", response_format="url")
    file = httpx.get(response.data[0].url)
    assert file.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(file.content)).size == (8, 8)


def test_the_variations_of_an_image_differ(client):
    body = {"image": make_png(), "n": 2, "model": "blobs-vae"}
    with pytest.warns(DeprecationWarning, match="deprecated"):
        response = client.images.create_variation(**body)
    assert response.data[0].b64_json != response.data[1].b64_json


def test_models_are_runs_with_their_abilities_and_aliases(client):
    models = {model.id: model for model in client.models.list()}
    retrieved = client.models.retrieve("blobs-vae")
    assert models["blobs-vae"].abilities == sorted(retrieved.abilities)
    assert "draw" in models["blobs-draw"].abilities
    assert models["gpt-5"].alias_of == "all runs"
    with pytest.raises(openai.NotFoundError, match="blobs-vae"):
        client.models.retrieve("org/none:v1")


def test_chat_captions_images_and_generates_them(client):
    image = {"type": "image_url", "image_url": {"url": data_url(make_png())}}
    message = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}
    answer = client.chat.completions.create(model="gpt-4o", messages=[message])
    assert answer.choices[0].message.content
    chunks = client.chat.completions.create(model="gpt-4o", messages=[message], stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == answer.choices[0].message.content
    answer = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "Draw a blob"}]
    )
    assert answer.choices[0].message.content.startswith("![image](data:image/png;base64,")


def test_embeddings_equal_those_of_the_model(client, runs):
    model = pinxit.load(runs["blobs-vae"])
    image = pinxit.Images(open_upload(make_png()).fit_to(model.info)[None])
    response = client.embeddings.create(
        model="blobs-vae", input=[data_url(make_png())] * 2, encoding_format="float"
    )
    np.testing.assert_allclose(response.data[1].embedding, model.embed(image)[0], rtol=1e-5)
    with pytest.raises(openai.BadRequestError, match="cannot embed"):
        client.embeddings.create(model="blobs-draw", input=[data_url(make_png())])


# -- invalid input ---------------------------------------------------------------------------------


def make_decompression_bomb(side: int = 20_000) -> bytes:
    """A small PNG file of 400 megapixels."""
    row = b"\0" * (1 + side // 8)
    compressor = zlib.compressobj(9)
    data = b"".join(compressor.compress(row * 100) for _ in range(side // 100))
    data += compressor.flush()

    def chunk(name: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(name + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + name + content + crc

    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


INVALID_IMAGES = [
    (b"", "empty_image_file"),
    (b"hello", "invalid_image_format"),
    (make_png((64, 64))[:90], "invalid_image_format"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "invalid_image_format"),
    (make_decompression_bomb(), "image_too_large"),
]


@pytest.mark.parametrize(("content", "code"), INVALID_IMAGES)
def test_invalid_images_are_refused_with_a_code(client, content, code):
    with pytest.raises(openai.BadRequestError) as error:
        client.images.edit(image=("../../x.png", content, "image/png"), prompt="x")
    assert (error.value.param, error.value.code) == ("image", code)


@pytest.mark.parametrize("url", [
    "data:image/png;base64,@@", "data:image/png,abc", "cat.png", "", "file:///etc/passwd",
    "http://127.0.0.1/x.png", "http://169.254.169.254/", "https://example.com/x.png",
])  # fmt: skip
def test_urls_that_are_not_images_or_not_allowed_are_refused(client, url):
    parts = [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": url}]
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(model="gpt-5", input=[{"role": "user", "content": parts}])
    assert "image_url" in error.value.param


@pytest.mark.parametrize(("mask", "code"), [
    (make_mask((4, 4), (0, 0, 2, 2)), "invalid_image_size"),
    (make_png((8, 8)), "invalid_image_mode"),
    (b"no mask", "invalid_image_format"),
    (make_mask((8, 8), (0, 0, 0, 0)), None),
])  # fmt: skip
def test_masks_that_do_not_fit_their_image_are_refused(client, mask, code):
    with pytest.raises(openai.BadRequestError) as error:
        client.images.edit(image=make_png(), mask=mask, prompt="x")
    assert (error.value.param, error.value.code) == ("mask", code)


@pytest.mark.parametrize("changes", [
    {"n": 0}, {"n": 1000}, {"n": "two"}, {"n": 1.5}, {"n": True}, {"n": 2**70},
    {"size": "banana"}, {"size": "0x0"}, {"size": "1x100000"}, {"size": 5}, {"size": "٢x٢"},
    {"prompt": ""}, {"prompt": "   "}, {"prompt": 5}, {"prompt": None}, {"prompt": "x" * 32_001},
    {"output_format": "bmp"}, {"quality": "ultra"}, {"background": "plaid"},
    {"output_compression": 101}, {"response_format": "pdf"}, {"seed": -1}, {"guidance": -1},
    {"temperature": "hot"}, {"top_p": 0},
])  # fmt: skip
def test_invalid_fields_are_refused_by_name(base_url, changes):
    body = {"prompt": "x", **changes}
    response = httpx.post(f"{base_url}/v1/images/generations", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, next(iter(changes)))
    assert error["message"]


@pytest.mark.parametrize(("content", "media", "status"), [
    (b"{", "application/json", 400), (b"", "application/json", 400),
    (b"[1]", "application/json", 400), (b'{"prompt": NaN}', "application/json", 400),
    (b"\xff\xfe", "application/json", 400), (b"[" * 100_000, "application/json", 400),
    (b'{"prompt": "\\ud800"}', "application/json", 400), (b"{}", "text/plain", 415),
    (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "application/json", 400),
])  # fmt: skip
def test_bodies_that_are_not_json_objects_are_refused(base_url, content, media, status):
    response = httpx.post(
        f"{base_url}/v1/images/generations", content=content, headers={"Content-Type": media}
    )
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_unknown_routes_and_methods_are_json_errors(base_url):
    assert (
        httpx.get(f"{base_url}/v1/none").json()["error"]["message"] == "This route does not exist."
    )
    wrong = httpx.get(f"{base_url}/v1/images/generations")
    assert wrong.status_code == 405
    assert json.loads(wrong.text)["error"]["type"] == "invalid_request_error"


def test_images_of_any_mode_are_accepted(client):
    for mode in ("L", "1", "P", "LA", "RGBA", "CMYK"):
        content = make_png(mode=mode, format="JPEG" if mode == "CMYK" else "PNG")
        response = client.images.edit(image=content, prompt="x")
        assert base64.b64decode(response.data[0].b64_json)


@pytest.mark.parametrize("option", [
    {"guidance": 2.0}, {"top_k": 3}, {"top_p": 0.5}, {"best_of": 2},
])  # fmt: skip
def test_options_that_a_model_without_prompts_does_not_use_are_refused(client, option):
    """As `pinxit sample` refuses them; they were dropped in silence."""
    with pytest.raises(openai.BadRequestError) as error:
        client.images.generate(model="blobs-vae", prompt="x", extra_body=option)
    assert error.value.param == next(iter(option))
    assert "does not use" in error.value.message


def test_a_variation_has_no_temperature(client):
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.images.create_variation(image=make_png(), extra_body={"temperature": 0.5})


def test_an_igpt_samples_with_the_options_of_its_tokens(client, runs):
    body = {"seed": 5, "top_k": 1}
    response = client.images.generate(model="blobs-igpt", prompt="x", extra_body=body)
    expected = pinxit.load(runs["blobs-igpt"]).sample(1, seed=[mix_seed(5, 0)], top_k=1)
    image = decode_png(response.data[0].b64_json).resize(expected.pixels.shape[2:0:-1], 0)
    assert np.array_equal(np.asarray(image.convert("L")), expected.pixels[0, ..., 0])
