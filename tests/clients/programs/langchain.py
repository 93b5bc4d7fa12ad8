"""LangChain: the image tool, follow-up turns, an image as input, structured output, usage."""

import base64

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Caption(BaseModel):
    """What an image shows."""

    caption: str


model = ChatOpenAI(model="gpt-4.1-mini", output_version="responses/v1")
with_images = model.bind_tools([{"type": "image_generation"}])


def images_of(message) -> list[dict]:
    return [part for part in message.content if part["type"] == "image_generation_call"]


first = with_images.invoke("Generate an image of a gray cat")
(image,) = images_of(first)
assert base64.b64decode(image["result"]).startswith(b"\x89PNG")
assert "cat" in first.text

turns = [HumanMessage("Generate an image of a cat"), first, HumanMessage("give it a detective hat")]
assert images_of(with_images.invoke(turns))[0]["action"] == "edit"
by_id = with_images.invoke("give it a hat", previous_response_id=first.response_metadata["id"])
assert images_of(by_id)[0]["action"] == "edit"

parts = [
    {"type": "text", "text": "What is this?"},
    {"type": "image", "base64": image["result"], "mime_type": "image/png"},
]
question = [HumanMessage(content=parts)]
caption = model.invoke(question).text
assert caption
assert model.with_structured_output(Caption).invoke(question) == Caption(caption=caption)

whole = None
for chunk in ChatOpenAI(model="gpt-4o", stream_usage=True).stream("hello"):
    whole = chunk if whole is None else whole + chunk
assert whole.usage_metadata["total_tokens"] > 0
