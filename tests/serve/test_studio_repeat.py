"""The command and the program that the studio gives for an image return that image."""

from __future__ import annotations

import base64
import io
import json
import shlex

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pinxit.cli import main
from pinxit.serve.studio.recipes import make_client_program, make_command
from pinxit.serve.studio.request import StudioRequest
from tests.serve.server import data_url, make_mask, make_png

PROMPT = """a "blob" of $5, it's `top` left"""


def generate(base_url: str, **fields) -> list[dict]:
    """The last event of a request of the page."""
    with httpx.stream(
        "POST", f"{base_url}/studio/data/generate", json=fields, timeout=60
    ) as response:
        events = [
            json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: ")
        ]
    assert events[-1]["type"] == "done", events[-1]
    return events[-1]["images"]


def pixels_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def grey_png() -> bytes:
    return make_png((8, 8), "L")


REQUESTS = {
    "sample": ("blobs-vae", {"task": "sample", "n": 24, "seed": 7, "temperature": 0.7}),
    "draw": ("blobs-draw", {"task": "draw", "n": 2, "seed": 3, "start": 1, "prompt": PROMPT,
                            "guidance": 1.5, "temperature": 1.0, "top_p": 0.95, "best_of": 2,
                            "language": "fr"}),
    "a dash": ("blobs-draw", {"task": "draw", "n": 1, "prompt": "--seed of a blob"}),
    "edit": ("blobs-edit", {"task": "edit", "n": 2, "prompt": PROMPT, "temperature": 1.0,
                            "image": data_url(grey_png())}),
    "complete": ("blobs-igpt", {"task": "complete", "n": 4, "seed": 5,
                                "image": data_url(grey_png()), "mask": data_url(make_mask())}),
}  # fmt: skip


@pytest.fixture(params=REQUESTS.values(), ids=REQUESTS)
def image(request, base_url, tmp_path, monkeypatch):
    """The last image of a request; its input files are in the working directory."""
    run, fields = request.param
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input.png").write_bytes(grey_png())
    (tmp_path / "mask.png").write_bytes(make_mask())
    images = generate(base_url, run=run, **fields)
    assert len(images) == fields["n"]
    return images[-1]


def test_the_command_returns_the_image(image, tmp_path):
    assert main(shlex.split(image["command"])[1:]) == 0
    result = pixels_of((tmp_path / "image.png").read_bytes())
    np.testing.assert_array_equal(result, pixels_of(base64.b64decode(image["png"])))


def test_the_program_returns_the_image(image, base_url, tmp_path):
    head = "import base64\nfrom openai import OpenAI\n"
    head += f'client = OpenAI(base_url="{base_url}/v1", api_key="not-needed")\n'
    exec(head + image["program"], {})
    result = Image.open(tmp_path / "image.png").convert("L")
    expected = Image.open(io.BytesIO(base64.b64decode(image["png"])))
    np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))


def test_the_program_of_latents_returns_the_image(base_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fields = {"run": "blobs-vae", "z": [0.5, -1.25, 2.0, 0.1]}
    made = httpx.post(f"{base_url}/studio/data/latent-program", json=fields).json()
    exec(made["library"], {})
    result = pixels_of((tmp_path / "image.png").read_bytes())
    np.testing.assert_array_equal(result, pixels_of(base64.b64decode(made["png"])))


def test_latents_of_a_seed_are_those_of_its_first_sample(base_url):
    fields = {"run": "blobs-vae", "seed": 4}
    z = httpx.post(f"{base_url}/studio/data/latent", json=fields).json()["z"]
    decoded = httpx.post(f"{base_url}/studio/data/decode", json={"run": "blobs-vae", "z": z})
    sample = generate(base_url, run="blobs-vae", task="sample", n=1, seed=4)[0]
    np.testing.assert_array_equal(
        pixels_of(decoded.content), pixels_of(base64.b64decode(sample["png"]))
    )


@given(prompt=st.text(min_size=1), model=st.text(min_size=1), seed=st.integers(0, 2**53))
def test_texts_survive_the_shell_and_python(prompt, model, seed):
    """Whatever the words are, one argument of the command and one literal hold them."""
    fields = StudioRequest(run="run", task="draw", prompt=prompt, seed=seed)
    words = shlex.split(make_command("runs/a b", fields, prompt, 3))
    assert prompt in words
    assert "runs/a b" in words
    assert words[words.index("--seed") + 1] == str(seed)
    calls = []

    class Client:
        class images:
            @staticmethod
            def generate(**options):
                calls.append(options)

    program = make_client_program(model, fields, 3).split("\nwith open")[0]
    exec(program, {"client": Client})
    assert calls == [{"model": model, "prompt": prompt, "extra_body": {"seed": seed, "start": 3}}]
