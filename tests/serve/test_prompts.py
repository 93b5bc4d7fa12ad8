"""The rules that read a prompt: its request phrase, and whether it wants an image or a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.serve.prompts import instructs_edit, requests_image, strip_request_phrase, wants_text
from tests.serve.server import TOOLS, data_url, make_png

VERBS = (
    "generate", "create", "draw", "make", "paint", "produce", "show", "render",
    "dessine", "peins", "crée", "génère", "fais", "montre",
)  # fmt: skip
# words that begin as an article, a pronoun, an image noun or a preposition does
WORDS = (
    "apples", "animals", "theatre", "onesies", "lakes", "lampe", "unicorns", "users", "mexicans",
    "photographs", "photo-realistic", "imagery", "drawingboard", "images", "oftentimes", "a-frame",
    "one's", "lente", "dessinateur", "withers", "deer", "avecs", "cat", "3D", "été",
)  # fmt: skip
FILLERS = ("", "a ", "the ", "me ", "me a ", "moi une ", "an image of ", "une image de ", "l'")


@given(
    st.sampled_from(VERBS), st.sampled_from(FILLERS), st.lists(st.sampled_from(WORDS), min_size=1)
)
def test_a_request_phrase_ends_at_a_word(verb, filler, words):
    prompt = f"{verb} {filler}{' '.join(words)}"
    caption = strip_request_phrase(prompt)
    assert prompt.endswith(caption)
    before = prompt.removesuffix(caption)
    assert not before or before[-1] in " '"
    assert caption.endswith(words[-1])


@pytest.mark.parametrize(
    ("prompt", "caption"),
    [
        ("Please draw me an image of a cat", "a cat"),
        ("Draw apples", "apples"),
        ("draw me the image: a cat", "a cat"),
        ("Generate images of cats", "cats"),
        ("dessine-moi une image d'un chat", "un chat"),
        ("Dessine l’arbre", "arbre"),
        ("Show me a red star", "red star"),
        ("show dog on grass", "show dog on grass"),
        ("please show red stars", "red stars"),
        ("make it red", "make it red"),
        ("Generate an image", "Generate an image"),
        ("a cat", "a cat"),
    ],
)
def test_a_caption_is_a_prompt_without_its_request(prompt, caption):
    assert strip_request_phrase(prompt) == caption


def test_a_request_without_a_caption_is_a_request_for_an_image():
    assert requests_image("Generate an image")
    assert not requests_image("a generated image")


@pytest.mark.parametrize(
    "prompt", ["Generate a caption", "Donne une légende", "give me a description"]
)
def test_a_request_for_a_caption_is_not_an_edit(prompt):
    assert wants_text(prompt)
    assert not instructs_edit(prompt)
    assert not requests_image(prompt)


@pytest.mark.parametrize(
    "prompt",
    ["add a hat", "now make it blue", "remplace le chat", "What is this?", "draw a dog",
     "describe the image", "change what he wears", "give it a caption"],
)  # fmt: skip
def test_a_chat_answers_as_responses_do(client, prompt):
    url = data_url(make_png())
    parts = [{"type": "input_text", "text": prompt}, {"type": "input_image", "image_url": url}]
    content = [{"role": "user", "content": parts}]
    response = client.responses.create(model="gpt-5", input=content, tools=TOOLS)
    parts = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": url}}]
    messages = [{"role": "user", "content": parts}]
    chat = client.chat.completions.create(model="gpt-5", messages=messages)
    is_image = "data:image/png;base64," in chat.choices[0].message.content
    assert is_image == (response.output[0].type == "image_generation_call")
