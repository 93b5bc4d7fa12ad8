"""instructor: what an image shows, as an object, from a chat and by its own modes for schemas."""

import base64

import instructor
from openai import OpenAI
from pydantic import BaseModel


class Caption(BaseModel):
    """What an image shows."""

    caption: str


drawn = OpenAI().images.generate(model="gpt-image-1", prompt="a cat").data or []
image = drawn[0].b64_json or ""
assert base64.b64decode(image).startswith(b"\x89PNG")
image_part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
messages = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image_part]}]
client = instructor.from_openai(OpenAI(), mode=instructor.Mode.JSON_SCHEMA)
caption = client.create(model="gpt-4o", messages=messages, response_model=Caption)
assert caption.caption
provider = instructor.from_provider("openai/gpt-4o", mode=instructor.Mode.JSON_SCHEMA)
again = provider.create(messages=messages, response_model=Caption)
assert again.caption == caption.caption
