"""LlamaIndex: the image tool, its stream of partial images, a follow-up turn, an image in."""

import asyncio
import base64

from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.llms.openai import OpenAI, OpenAIResponses

MODEL = "gpt-4.1-mini"
TOOLS = [{"type": "image_generation"}]


def images_of(message: ChatMessage) -> list[bytes]:
    """The images of a message, which is empty if LlamaIndex drops them."""
    blocks = [block for block in message.blocks if isinstance(block, ImageBlock)]
    return [base64.b64decode(block.image or b"") for block in blocks]


artist = OpenAIResponses(model=MODEL, built_in_tools=TOOLS, track_previous_responses=True)
first = artist.chat([ChatMessage(role="user", content="Draw a cat")])
(image,) = images_of(first.message)
assert image.startswith(b"\x89PNG")
assert "cat" in (first.message.content or "")
follow = artist.chat([ChatMessage(role="user", content="give this cat a detective hat")])
assert len(images_of(follow.message)) == 1
assert "edited" in (follow.message.content or "")

previews = [{"type": "image_generation", "partial_images": 2}]
streamed = OpenAIResponses(model=MODEL, built_in_tools=previews)
parts = list(streamed.stream_chat([ChatMessage(role="user", content="Draw a cat")]))
details = [
    block.detail
    for part in parts[:-1]
    for block in part.message.blocks
    if isinstance(block, ImageBlock)
]
assert details == ["id_0", "id_1"]
assert images_of(parts[-1].message)[0].startswith(b"\x89PNG")
assert "".join(part.delta or "" for part in parts) == parts[-1].message.content

seen = [TextBlock(text="What is this?"), ImageBlock(image=image, image_mimetype="image/png")]
question = [ChatMessage(role="user", blocks=seen)]
caption = OpenAIResponses(model=MODEL).chat(question).message.content
assert caption
assert OpenAI(model="gpt-4o-mini").chat(question).message.content == caption


async def main() -> None:
    drawn = await OpenAIResponses(model=MODEL, built_in_tools=TOOLS).achat(
        [ChatMessage(role="user", content="Draw a cat")]
    )
    assert len(images_of(drawn.message)) == 1


asyncio.run(main())
