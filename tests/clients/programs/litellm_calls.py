"""litellm: responses and their follow-up, images, a chat with an image, usage of a stream."""

import base64

import litellm

tools = [{"type": "image_generation"}]
first = litellm.responses(model="openai/gpt-5", input="Draw a cat", tools=tools)
assert [item.type for item in first.output] == ["image_generation_call", "message"]
follow = litellm.responses(
    model="openai/gpt-5",
    input="give it a detective hat",
    previous_response_id=first.id,
    tools=tools,
)
assert [item.type for item in follow.output] == ["image_generation_call", "message"]

image = litellm.image_generation(model="openai/gpt-image-1", prompt="a cat").data[0].b64_json
assert base64.b64decode(image).startswith(b"\x89PNG")
parts = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
]
messages = [{"role": "user", "content": parts}]
assert litellm.completion(model="openai/gpt-4o", messages=messages).choices[0].message.content

*_, last = litellm.completion(
    model="openai/gpt-4o", messages=[{"role": "user", "content": "hello"}], stream=True,
    stream_options={"include_usage": True},
)  # fmt: skip
assert last.usage.total_tokens > 0
