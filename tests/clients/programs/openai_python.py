"""openai for Python: sync and async, follow-up turns, streams, parse, images, files, embeddings."""

import asyncio
import base64
from typing import Any

from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel


class Caption(BaseModel):
    """What an image shows."""

    caption: str


MODEL = "gpt-5"
TOOLS: list[Any] = [{"type": "image_generation"}]
PREVIEWS: list[Any] = [{"type": "image_generation", "partial_images": 2}]
client = OpenAI()


def images_of(response) -> list[str]:
    return [item.result for item in response.output if item.type == "image_generation_call"]


def question_about(image: str) -> list[Any]:
    text = {"type": "input_text", "text": "What is this?"}
    image_part = {"type": "input_image", "image_url": f"data:image/png;base64,{image}"}
    return [{"role": "user", "content": [text, image_part]}]


def check_png(image: str) -> None:
    assert base64.b64decode(image).startswith(b"\x89PNG")


def use_responses() -> str:
    """The image tool, its follow-up by id and by items, streams, an image in, and parse."""
    first = client.responses.create(model=MODEL, input="Draw a gray cat", tools=TOOLS)
    (image,) = images_of(first)
    check_png(image)
    assert "cat" in first.output_text
    turn = "give this cat a detective hat"
    by_id = client.responses.create(
        model=MODEL, input=turn, previous_response_id=first.id, tools=TOOLS
    )
    assert by_id.output[0].action == "edit"
    items = [
        {"role": "user", "content": "Draw a gray cat"},
        {"type": "image_generation_call", "id": first.output[0].id},
        {"role": "user", "content": turn},
    ]
    assert client.responses.create(model=MODEL, input=items, tools=TOOLS).output[0].action == "edit"

    with client.responses.stream(model=MODEL, input="Draw a cat", tools=PREVIEWS) as stream:
        types = [event.type for event in stream]
        final = stream.get_final_response()
    assert types.count("response.image_generation_call.partial_image") == 2
    assert types[-1] == "response.completed"
    check_png(images_of(final)[0])

    question = question_about(image)
    with client.responses.stream(model=MODEL, input=question) as stream:
        text = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text
    parsed = client.responses.parse(model=MODEL, input=question, text_format=Caption)
    assert parsed.output_parsed == Caption(caption=text)
    return image


def use_images(image: str) -> None:
    """Generations, a stream, an edit, a variation, a file, an embedding."""
    generated = client.images.generate(model="gpt-image-1", prompt="a cat", n=2)
    assert len(generated.data or []) == 2
    events = client.images.generate(
        model="gpt-image-1", prompt="a cat", stream=True, partial_images=1
    )
    assert [event.type.split(".")[-1] for event in events] == ["partial_image", "completed"]
    png = base64.b64decode(image)
    edited = client.images.edit(model="gpt-image-1", image=("a.png", png), prompt="a hat")
    check_png((edited.data or [])[0].b64_json or "")
    varied = client.images.create_variation(image=("a.png", png), response_format="b64_json")
    check_png((varied.data or [])[0].b64_json or "")
    file = client.files.create(file=("a.png", png), purpose="vision")
    assert client.files.content(file.id).read() == png
    question = question_about(image)
    question[0]["content"][1] = {"type": "input_image", "file_id": file.id}
    assert client.responses.create(model=MODEL, input=question).output_text
    url = f"data:image/png;base64,{image}"
    vector = client.embeddings.create(model=MODEL, input=url).data[0].embedding
    assert len(vector) == 4


def use_chat(image: str) -> None:
    """A chat about an image, and the usage of a stream."""
    image_part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    content = [{"type": "text", "text": "What is this?"}, image_part]
    chat = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": content}]
    )
    assert chat.choices[0].message.content
    *_, last = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hello"}], stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    assert last.usage.total_tokens > 0


async def use_async(image: str) -> None:
    """The same jobs with the asynchronous client, and a response in the background."""
    async with AsyncOpenAI() as client:
        first, second = await asyncio.gather(
            *(client.responses.create(model=MODEL, input=text, tools=TOOLS)
              for text in ("Draw a cat", "Draw a dog"))
        )  # fmt: skip
        check_png(images_of(first)[0])
        follow = await client.responses.create(
            model=MODEL, input="give it a hat", previous_response_id=second.id, tools=TOOLS
        )
        assert follow.output[0].action == "edit"
        async with client.responses.stream(model=MODEL, input="a cat", tools=PREVIEWS) as stream:
            types = [event.type async for event in stream]
            final = await stream.get_final_response()
        assert types.count("response.image_generation_call.partial_image") == 2
        check_png(images_of(final)[0])
        events = await client.responses.create(model=MODEL, input="a cat", tools=TOOLS, stream=True)
        assert [event.type async for event in events][-1] == "response.completed"
        question = question_about(image)
        parsed = await client.responses.parse(model=MODEL, input=question, text_format=Caption)
        assert parsed.output_parsed is not None
        assert parsed.output_parsed.caption
        await use_background(client)


async def use_background(client: AsyncOpenAI) -> None:
    response = await client.responses.create(
        model=MODEL, input="a blob", tools=TOOLS, background=True
    )
    while response.status in ("queued", "in_progress"):
        await asyncio.sleep(0.05)
        response = await client.responses.retrieve(response.id)
    assert response.status == "completed"


image = use_responses()
use_images(image)
use_chat(image)
asyncio.run(use_async(image))
