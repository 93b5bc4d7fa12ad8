"""Semantic Kernel: an image from a text, a chat about an image, and its stream."""

import asyncio
import base64

from semantic_kernel.connectors.ai.open_ai import (
    OpenAIChatCompletion,
    OpenAIChatPromptExecutionSettings,
    OpenAITextToImage,
)
from semantic_kernel.contents import ChatHistory, ChatMessageContent, ImageContent, TextContent


async def main() -> None:
    artist = OpenAITextToImage(ai_model_id="gpt-image-1")
    (image,) = await artist.generate_images("a cat")
    data = base64.b64decode(image)
    assert data.startswith(b"\x89PNG")
    image_part = ImageContent(data=data, data_format="base64", mime_type="image/png")
    items = [TextContent(text="What is this?"), image_part]
    history = ChatHistory(messages=[ChatMessageContent(role="user", items=items)])
    service = OpenAIChatCompletion(ai_model_id="gpt-4o")
    settings = OpenAIChatPromptExecutionSettings()
    answer = await service.get_chat_message_content(history, settings)
    assert answer is not None
    assert answer.content
    parts = [
        str(part) async for part in service.get_streaming_chat_message_content(history, settings)
    ]
    assert "".join(parts) == answer.content


asyncio.run(main())
