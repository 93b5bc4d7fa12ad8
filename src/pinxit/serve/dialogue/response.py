"""Build a response of /v1/responses as a sequence of events.

Streamed or not, a response is built the same way: without a stream, the client gets the body that
the last event carries.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from pinxit.serve.dialogue.parse import ParsedRequest
from pinxit.serve.inference.progress import PreviewStream, stream_previews
from pinxit.serve.inference.requests import GenerationRequest, GenerationResult
from pinxit.serve.inference.router import Router, num_progress_steps
from pinxit.serve.media.outputs import OutputSpec, normalize_quality
from pinxit.serve.media.uploads import UploadedImage
from pinxit.serve.prompts import answer_language
from pinxit.serve.schemas import ImageGenerationTool, ResponsesRequest
from pinxit.serve.store import new_id

Event = dict[str, Any]
EmitEvent = Callable[[Event], None]


class ResponseBuilder:
    """A response that is being built; `emit_event` receives each event with its number."""

    def __init__(self, parsed: ParsedRequest, router: Router, emit_event: EmitEvent) -> None:
        self.parsed, self.router, self._emit_event = parsed, router, emit_event
        self.num_events = 0
        self.body = _new_body(parsed.request)

    @property
    def id(self) -> str:
        return self.body["id"]

    def emit(self, event_type: str, **fields: Any) -> None:
        self._emit_event({"type": event_type, "sequence_number": self.num_events, **fields})
        self.num_events += 1

    # -- the response as a whole ----------------------------------------------------------------

    def start(self) -> None:
        # events are sent later: they carry copies, since the body's output grows
        for event_type in ("response.created", "response.in_progress"):
            self.emit(event_type, response={**self.body, "output": []})

    def finish(self) -> None:
        """Complete the body. The client learns of it by `emit_completed`, once it is stored."""
        self.body.update(status="completed", completed_at=int(time.time()), usage=self._usage())

    def emit_completed(self) -> None:
        self.emit("response.completed", response=self.body)

    def fail(self, code: str, message: str) -> None:
        self.body.update(status="failed", error={"code": code, "message": message})
        self.emit("response.failed", response=self.body)

    def cancel(self) -> None:
        self.body.update(status="cancelled", incomplete_details={"reason": "cancelled"})
        self.emit("response.incomplete", response=self.body)

    def _usage(self) -> dict[str, Any]:
        """Count words as tokens, and each image as one."""
        messages = self.parsed.conversation.messages
        num_input = sum(len(message.text.split()) for message in messages)
        texts = [part["text"] for item in self.body["output"] for part in item.get("content", [])]
        num_images = len(self.body["output"]) - len(texts)
        num_output = sum(len(text.split()) for text in texts) + num_images
        return {
            "input_tokens": num_input,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": num_output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": num_input + num_output,
        }

    # -- output items ---------------------------------------------------------------------------

    async def add_image(self, prompt: str | None = None, *, new: bool = False) -> GenerationResult:
        """Generate an image and add it to the output, with partial images if requested.

        `prompt` replaces the user's last message. With `new`, the last image is not edited.
        """
        tool = self.parsed.tool or ImageGenerationTool()
        source = None if new else self.parsed.edit_source
        request = self._prepare(prompt, source)
        spec = _output_spec(tool, request)
        index, item_id = len(self.body["output"]), new_id("ig")
        item: dict[str, Any] = {
            "id": item_id,
            "type": "image_generation_call",
            "status": "in_progress",
            "action": "generate" if source is None else "edit",
            "result": None,
        }
        location = {"output_index": index, "item_id": item_id}
        self.emit("response.output_item.added", output_index=index, item=dict(item))
        self.emit("response.image_generation_call.in_progress", **location)
        self.emit("response.image_generation_call.generating", **location)
        result = await self._generate(request, tool, spec, location)
        image = await spec.encode(result.images[0])
        item.update(
            status="completed",
            action=result.action,
            quality=normalize_quality(tool),
            revised_prompt=result.prompt_used,
            result=image.base64,
            # extensions
            seed=request.params.seed,
            model_used=result.model.name,
            resampled_from=image.size_before_resampling,
            **image.fields,
        )
        self.body["output"].append(item)
        self.emit("response.image_generation_call.completed", **location)
        self.emit("response.output_item.done", output_index=index, item=dict(item))
        return result

    def _prepare(self, prompt: str | None, source: UploadedImage | None) -> GenerationRequest:
        conversation = self.parsed.conversation
        return self.router.prepare(
            conversation.prompt if prompt is None else prompt,
            self.parsed.params,
            source=source,
            mask=None if source is None else self.parsed.mask,
            conversation=conversation.user_prompts,
        )

    async def _generate(
        self,
        request: GenerationRequest,
        tool: ImageGenerationTool,
        spec: OutputSpec,
        location: dict[str, Any],
    ) -> GenerationResult:
        if not tool.partial_images:
            return await self.router.generate(request)

        async def show(index: int, images: list[np.ndarray]) -> None:
            image = await spec.encode(images[0])
            self.emit(
                "response.image_generation_call.partial_image",
                **location,
                partial_image_index=index,
                partial_image_b64=image.base64,
                quality=normalize_quality(tool),
                **image.fields,
            )

        previews = PreviewStream(num_progress_steps(request), tool.partial_images)
        return await stream_previews(previews, self.router.generate(request, previews), show)

    def add_text(self, text: str) -> None:
        """Add a message to the output, with an event for each word."""
        index, item_id = len(self.body["output"]), new_id("msg")
        message = {"id": item_id, "type": "message", "role": "assistant"}
        part = {"type": "output_text", "text": "", "annotations": []}
        location = {"output_index": index, "content_index": 0, "item_id": item_id}
        self.emit(
            "response.output_item.added",
            output_index=index,
            item={**message, "status": "in_progress", "content": []},
        )
        self.emit("response.content_part.added", **location, part=part)
        for delta in re.findall(r"\S+\s*|\s+", text):
            self.emit("response.output_text.delta", **location, delta=delta, logprobs=[])
        part = {**part, "text": text}
        self.emit("response.output_text.done", **location, text=text, logprobs=[])
        self.emit("response.content_part.done", **location, part=part)
        item = {**message, "status": "completed", "content": [part]}
        self.body["output"].append(item)
        self.emit("response.output_item.done", output_index=index, item=item)

    # -- texts ----------------------------------------------------------------------------------

    async def caption_image(self) -> str:
        """Caption the conversation's image; without an image or a model for it, say so."""
        conversation = self.parsed.conversation
        if conversation.image is None:
            return self.introduction()
        language = answer_language(conversation.prompt)
        caption = await self.router.caption(conversation.image, language)
        if caption is not None:
            return caption
        size = f"{conversation.image.width} x {conversation.image.height}"
        return (
            f"The image has {size} pixels. None of these models captions images: "
            f"{self.router.run_names}."
        )

    def introduction(self) -> str:
        """Return the answer to a request with nothing to do: what this server can do."""
        return (
            f"This server runs {self.router.run_names}. "
            f"Abilities: {', '.join(self.router.abilities)}. Add the image_generation tool to "
            "your request to get an image, or send an image to get its caption."
        )


# answers a request by adding items to its response
AnswerFunction = Callable[[ResponseBuilder], Awaitable[None]]


async def answer_without_llm(builder: ResponseBuilder) -> None:
    """Answer with an image for the prompt, or with a caption of the image."""
    if builder.parsed.needs_image:
        await builder.add_image()
    else:
        builder.add_text(await builder.caption_image())


def _output_spec(tool: ImageGenerationTool, request: GenerationRequest) -> OutputSpec:
    """Without a size: the model's own; with a mask, the source's."""
    source, mask = request.source, request.mask
    default_size = None
    if source is not None and mask is not None:
        default_size = source.width, source.height
    return OutputSpec.from_options(tool, source, mask, default_size=default_size)


def _new_body(request: ResponsesRequest) -> dict[str, Any]:
    tools = [ImageGenerationTool.model_validate(tool) for tool in request.tools or []]
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": None,
        "metadata": request.metadata or {},
        "model": request.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": request.previous_response_id,
        "store": request.store is not False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto" if request.tool_choice is None else request.tool_choice,
        "tools": [tool.model_dump(exclude_none=True) for tool in tools],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": request.user,
    }
