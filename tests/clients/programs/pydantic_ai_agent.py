"""pydantic-ai: an image as the output, with text, a follow-up turn, an image as input, a schema."""

from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, BinaryImage, NativeOutput
from pydantic_ai.capabilities import NativeTool
from pydantic_ai.native_tools import ImageGenerationTool


class Caption(BaseModel):
    """What an image shows."""

    caption: str


MODEL = "openai-responses:gpt-5.4"
tools = [NativeTool(ImageGenerationTool())]

image = Agent(MODEL, output_type=BinaryImage, capabilities=tools).run_sync("Draw a cat").output
assert image.data.startswith(b"\x89PNG")

artist = Agent(MODEL, capabilities=tools)
first = artist.run_sync("Generate an image of a cat")
assert "cat" in first.output
assert len(first.response.images) == 1
follow = artist.run_sync("give this cat a detective hat", message_history=first.all_messages())
assert "edited" in follow.output

question = ["What is this?", BinaryContent(image.data, media_type="image/png")]
caption = Agent(MODEL).run_sync(question).output
assert Agent("openai-chat:gpt-4o").run_sync(question).output == caption
assert Agent(MODEL, output_type=NativeOutput(Caption)).run_sync(question).output.caption == caption
