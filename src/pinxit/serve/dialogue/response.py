"""Build a response of /v1/responses as a sequence of events.

Streamed or not, a response is built the same way: without a stream, the client gets the body that
the last event carries.
"""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from pinxit.serve.dialogue.description import describe_image
from pinxit.serve.dialogue.event_log import Event
from pinxit.serve.dialogue.parse import ParsedRequest
from pinxit.serve.dialogue.writers import CallWriter, TextWriter
from pinxit.serve.errors import ApiError
from pinxit.serve.inference.progress import PreviewStream, stream_previews
from pinxit.serve.inference.requests import GenerationRequest, GenerationResult
from pinxit.serve.inference.router import Router, num_progress_steps
from pinxit.serve.media.outputs import OutputSpec, normalize_quality
from pinxit.serve.media.uploads import UploadedImage
from pinxit.serve.pools import SHORT_CHARS, read_in_thread_if, work_on_images
from pinxit.serve.prompts import answer_language
from pinxit.serve.schemas import ImageGenerationTool, ResponsesRequest
from pinxit.serve.store import new_id

_WORD = re.compile(r"\S+\s*|\s+")
EmitEvent = Callable[[Event], None]


class ResponseBuilder:
    """A response that is being built; `emit_event` receives each event with its number."""

    def __init__(
        self,
        parsed: ParsedRequest,
        router: Router,
        emit_event: EmitEvent | None,
        *,
        with_llm: bool = False,
    ) -> None:
        """`emit_event` None: nobody reads the events. `with_llm`: a language model answers, and
        decides what is generated.
        """
        self.parsed, self.router, self._emit_event = parsed, router, emit_event
        self.with_llm = with_llm
        self.num_events = 0
        self.body = _new_body(parsed.request)
        self.last_image: GenerationResult | None = None
        self.num_tokens = 0  # of a language model's messages
        self._num_prompt_tokens: int | None = None  # which it has read, if it says so
        self._num_own_words = 0  # in texts of this server
        self._request: GenerationRequest | None = None  # for the user's own words
        # of the message or the call that is being written
        self.writer: TextWriter | CallWriter | None = None
        self.is_cancelled_by_client = False  # not by a lost connection
        self.is_deleted = False

    @property
    def id(self) -> str:
        return self.body["id"]

    def emit(self, event_type: str, **fields: Any) -> None:
        """Emit an event. It keeps the state of this moment, however late it is sent."""
        if self._emit_event is not None:
            event = {"type": event_type, "sequence_number": self.num_events, **fields}
            self._emit_event(copy.deepcopy(event))
        self.num_events += 1

    # -- the response as a whole ----------------------------------------------------------------

    def start(self) -> None:
        for event_type in ("response.created", "response.in_progress"):
            self.emit(event_type, response=self.body)

    def finish(self) -> None:
        """Complete the body. The client learns of it by `emit_completed`, once it is stored."""
        status = "completed" if self.body["incomplete_details"] is None else "incomplete"
        self.body.update(status=status, completed_at=int(time.time()), usage=self._usage())

    def emit_completed(self) -> None:
        self.emit(f"response.{self.body['status']}", response=self.body)

    def fail(self, code: str, message: str) -> None:
        self._close_writer()
        self.body.update(status="failed", error={"code": code, "message": message})
        self.emit("response.failed", response=self.body)

    def cancel(self) -> None:
        """End with what there is. The status says it; `incomplete_details` has no reason for it."""
        self._close_writer()
        self.body.update(status="cancelled", usage=self._usage())
        self.emit("response.incomplete", response=self.body)

    def _close_writer(self) -> None:
        """Keep the text that the client has already received."""
        if self.writer is not None:
            self.writer.close("incomplete")

    def _usage(self) -> dict[str, Any]:
        """Count words as tokens, or as a language model counts them, and each image as one."""
        messages = self.parsed.conversation.messages
        num_input = sum(len(message.text.split()) for message in messages)
        if self._num_prompt_tokens is not None:
            num_input = self._num_prompt_tokens
        num_output = self._num_output_tokens()
        return {
            "input_tokens": num_input,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": num_output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": num_input + num_output,
        }

    def count_tokens(self, prompt: int | None, completion: int) -> None:
        """Count the tokens of a message of a language model, and of what it has read for it."""
        self.num_tokens += completion
        if prompt is not None:
            self._num_prompt_tokens = (self._num_prompt_tokens or 0) + prompt

    def _num_output_tokens(self) -> int:
        output = self.body["output"]
        if self.with_llm:
            num_images = sum(item["type"] == "image_generation_call" for item in output)
            return self.num_tokens + self._num_own_words + num_images
        texts = [part["text"] for item in output for part in item.get("content", [])]
        texts += [item["arguments"] for item in output if item["type"] == "function_call"]
        num_images = sum(item["type"] == "image_generation_call" for item in output)
        return sum(len(text.split()) for text in texts) + num_images

    def _cut(self, text: str) -> str:
        """Return as much of a text as `max_output_tokens` leaves room for, a word a token."""
        limit = self.parsed.request.max_output_tokens
        words = _WORD.findall(text)
        room = len(words) if limit is None else max(0, limit - self._num_output_tokens())
        if room >= len(words):
            return text
        self.body["incomplete_details"] = {"reason": "max_output_tokens"}
        return "".join(words[:room]).rstrip()

    # -- output items ---------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Decode what the answer needs, before the client gets any of it.

        Raises ApiError for damaged images, and for several where one is edited.
        """
        if self.parsed.needs_image and not self.with_llm:
            self._request = await self._prepare(None, self.parsed.edit_source)
            if self._request.source is not None:
                await work_on_images(self._request.decode)
            return
        run = self.router.first_supporting("caption")
        for image in self.parsed.conversation.images:
            if run is None:
                await work_on_images(image.check)
            else:
                await work_on_images(image.fit_to, run.info)

    async def add_image(self, prompt: str | None = None, *, new: bool = False) -> GenerationResult:
        """Generate an image and add it to the output, with partial images if requested.

        `prompt` replaces the user's last message. With `new`, the last image is not edited.
        """
        tool = self.parsed.tool or ImageGenerationTool()
        source = None if new else self.parsed.edit_source
        if prompt is None and not new and self._request is not None:
            request = self._request
        else:
            request = await self._prepare(prompt, source)
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
        self.emit("response.output_item.added", output_index=index, item=item)
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
        self.emit("response.output_item.done", output_index=index, item=item)
        self.last_image = result
        return result

    async def _prepare(self, prompt: str | None, source: UploadedImage | None) -> GenerationRequest:
        """Raises ApiError for several images: all of them would have to be used."""
        conversation = self.parsed.conversation
        if source is not None and len(conversation.images) > 1:
            count = len(conversation.images)
            raise ApiError(
                f"There are {count} images to edit; these models edit one.", param="input"
            )
        prompt = conversation.prompt if prompt is None else prompt
        prompts = conversation.user_prompts
        return await read_in_thread_if(
            sum(map(len, (prompt, *prompts))) > SHORT_CHARS,
            self.router.prepare,
            prompt,
            self.parsed.params,
            source=source,
            mask=None if source is None else self.parsed.mask,
            conversation=prompts,
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
        writer = TextWriter(self)
        words = _WORD.findall(self._cut(self.parsed.format(text)))
        self._num_own_words += len(words)
        for delta in words:
            writer.write(delta)
        writer.close()

    def add_function_call(self, call_id: str, name: str, arguments: str) -> None:
        """Add a call of one of the client's functions; the client answers it in its next turn."""
        writer = CallWriter(self, call_id, name)
        writer.write(arguments)
        writer.close()

    def end_with_text(self) -> None:
        """Add a message where an image is last: clients take the last message as the answer."""
        output = self.body["output"]
        ends_with_image = bool(output) and output[-1]["type"] == "image_generation_call"
        if self.last_image is not None and ends_with_image:
            self.add_text(describe_image(self.last_image))

    # -- texts ----------------------------------------------------------------------------------

    async def caption_images(self) -> str:
        """Caption the conversation's images; without one, or without a model for it, say so."""
        conversation = self.parsed.conversation
        if not conversation.images:
            return self.introduction()
        language = answer_language(conversation.prompt)
        captions = [await self.router.caption(image, language) for image in conversation.images]
        known = [caption for caption in captions if caption is not None]
        if not known:
            sizes = " and ".join(f"{i.width} x {i.height}" for i in conversation.images)
            return (
                f"The image has {sizes} pixels. None of these models captions images: "
                f"{self.router.run_names}."
            )
        if len(known) == 1:
            return known[0]
        return "\n".join(f"{i}. {caption}" for i, caption in enumerate(known, 1))

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
        builder.end_with_text()
    else:
        builder.add_text(await builder.caption_images())


def _output_spec(tool: ImageGenerationTool, request: GenerationRequest) -> OutputSpec:
    """Without a size: the source's, if the image is a version of it, else the model's own."""
    source, mask = request.source, request.mask
    default_size = None
    if source is not None and (mask is not None or request.reads_source):
        default_size = source.size
    return OutputSpec.from_options(tool, source, mask, request.frame, default_size=default_size)


# fields of a response that are those of its request, and what they are where it has none
ECHOED: dict[str, Any] = {
    "instructions": None, "max_output_tokens": None, "max_tool_calls": None, "metadata": {},
    "parallel_tool_calls": True, "previous_response_id": None, "prompt_cache_key": None,
    "prompt_cache_options": None, "prompt_cache_retention": None, "reasoning": None,
    "safety_identifier": None, "service_tier": None, "temperature": 1.0, "tool_choice": "auto",
    "tools": [], "top_p": 1.0, "truncation": "disabled", "user": None,
}  # fmt: skip


def _new_body(request: ResponsesRequest) -> dict[str, Any]:
    sent = request.model_dump(exclude_none=True)
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": request.background is True,
        "error": None,
        "incomplete_details": None,
        "model": request.model,
        "output": [],
        "store": request.store is not False,
        "text": {"format": {"type": "text"}, **sent.get("text", {})},
        "usage": None,
        **{name: sent.get(name, default) for name, default in ECHOED.items()},
    }
