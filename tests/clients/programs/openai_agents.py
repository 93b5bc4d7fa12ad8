"""openai-agents: an agent with the image tool and a function, its follow-up turn, a stream."""

import asyncio
import base64

from agents import Agent, ImageGenerationTool, Runner, function_tool


@function_tool
def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city}"


tools = [ImageGenerationTool(tool_config={"type": "image_generation"}), weather]
artist = Agent(name="artist", instructions="You draw.", tools=tools)


def images_of(result) -> list[str]:
    calls = [item.raw_item for item in result.new_items if item.type == "tool_call_item"]
    return [call.result for call in calls if call.type == "image_generation_call"]


async def main() -> None:
    first = await Runner.run(artist, "Generate an image of a gray cat hugging an otter")
    (image,) = images_of(first)
    assert base64.b64decode(image).startswith(b"\x89PNG")
    assert "otter" in first.final_output

    turn = {"role": "user", "content": "give this cat a detective hat"}
    follow = await Runner.run(artist, [*first.to_input_list(), turn])
    assert len(images_of(follow)) == 1
    assert "edited" in follow.final_output

    stream = Runner.run_streamed(artist, "Generate an image of a blob")
    async for _ in stream.stream_events():
        pass
    assert len(images_of(stream)) == 1

    seen = {"type": "input_image", "image_url": f"data:image/png;base64,{image}"}
    question = {"role": "user", "content": [{"type": "input_text", "text": "What?"}, seen]}
    assert (await Runner.run(Agent(name="viewer"), [question])).final_output


asyncio.run(main())
