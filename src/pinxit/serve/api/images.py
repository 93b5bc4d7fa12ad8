"""/v1/images: generations, edits and variations."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import FormData, UploadFile

from pinxit.serve.api.sse import streamed, while_connected
from pinxit.serve.errors import Refusal
from pinxit.serve.inference.progress import Growth, watching
from pinxit.serve.inference.requests import Ask, Painted
from pinxit.serve.inference.router import Painters, stages
from pinxit.serve.media.outputs import File, Wanted, how_of
from pinxit.serve.media.sources import Sources
from pinxit.serve.media.uploads import MEDIA, Sent, mask_of, received
from pinxit.serve.schemas import EditImages, Generate, Options, Vary, fields_of, json_of, numbers_in
from pinxit.serve.store import Store, new_id

TYPED = ("1024x1024", "1024x1536", "1536x1024")  # sizes that older clients' types know
MOST_IMAGES = 16
NUMBERS = (
    "n", "partial_images", "output_compression", "stream", "seed", "guidance", "temperature",
    "top_k", "top_p", "best_of",
)  # fmt: skip


@dataclass(frozen=True)
class ImageRoutes:
    """The three routes."""

    painters: Painters
    store: Store
    sources: Sources

    async def generate(self, request: Request) -> Response:
        fields = await json_of(request, Generate)
        return await self._painted(request, fields, self._ask(fields), "image_generation")

    async def edit(self, request: Request) -> Response:
        fields, sources, mask = await self._sent(request)
        if not sources:
            raise Refusal("there is no image to edit.", param="image")
        source = sources[0]
        if mask is None and source.has_alpha:
            mask = source.content  # as dall-e-2 had it: an image may be its own mask
        ask = self._ask(fields, source, mask)
        return await self._painted(request, fields, ask, "image_edit")

    async def vary(self, request: Request) -> Response:
        form = await _form(request)
        fields = fields_of(numbers_in(_texts(form), *NUMBERS), Vary)
        source = (await _images(form))[:1]
        if not source:
            raise Refusal("there is no image to vary.", param="image")
        ask = self._ask(fields, source[0])
        choice = self.painters.named(fields.model)
        wanted = Wanted.of(fields, (source[0].width, source[0].height))
        painted = await while_connected(request, choice.vary(ask))
        return await self._answer(request, fields, ask, wanted, painted)

    # -- what comes in --------------------------------------------------------------------------

    def _ask(
        self, fields: Generate | Vary, source: Sent | None = None, mask: bytes | None = None
    ) -> Ask:
        text = fields.prompt if isinstance(fields, Generate) else ""
        if isinstance(fields, Generate) and not text.strip():
            raise Refusal("the prompt is empty.", param="prompt")
        if fields.background == "transparent" and fields.output_format == "jpeg":
            raise Refusal("a JPEG cannot be transparent.", param="background")
        seed = secrets.randbelow(2**31) if fields.seed is None else fields.seed
        return Ask(text, fields.n or 1, seed, source, mask, how_of(fields))

    async def _sent(self, request: Request) -> tuple[EditImages, list[Sent], bytes | None]:
        if request.headers.get("content-type", "").startswith("application/json"):
            fields = await json_of(request, EditImages)
            named = enumerate(fields.images)
            sources = [
                await asyncio.to_thread(self.sources.of, one, f"images[{i}]", self.store)
                for i, one in named
            ]
            mask = None
            if fields.mask is not None:
                sent = await asyncio.to_thread(self.sources.of, fields.mask, "mask", self.store)
                mask = sent.content
            return fields, sources, mask
        form = await _form(request)
        fields = fields_of(numbers_in(_texts(form), *NUMBERS), EditImages)
        masks = [one for one in form.getlist("mask") if isinstance(one, UploadFile)]
        return fields, await _images(form), await masks[0].read() if masks else None

    # -- what goes out --------------------------------------------------------------------------

    async def _painted(self, request: Request, fields: Generate, ask: Ask, kind: str) -> Response:
        choice = self.painters.named(fields.model)
        source = ask.source
        wanted = Wanted.of(fields, (source.width, source.height) if source else None)
        if ask.mask is not None and source is not None:
            able = choice.able("complete")
            info = (able or choice.among[0]).info
            await asyncio.to_thread(mask_of, ask.mask, source, info)
        if fields.stream:
            if ask.n != 1:
                raise Refusal("a stream is of one image.", param="n")
            return streamed(self._events(fields, ask, wanted, kind))
        painted = await while_connected(request, choice.paint(ask))
        return await self._answer(request, fields, ask, wanted, painted)

    async def _answer(
        self, request: Request, fields: Generate | Vary, ask: Ask, wanted: Wanted, painted: Painted
    ) -> Response:
        files = [await wanted.file(pixels, ask) for pixels in painted.pixels]
        if fields.response_format == "url":
            data = [{"url": await self._kept(request, file)} for file in files]
        else:
            data = [{"b64_json": file.base64} for file in files]
        extra = {"revised_prompt": painted.said} if painted.said else {}
        body: dict[str, Any] = {
            "created": int(time.time()),
            "data": [{**one, **extra} for one in data],
            **_told(files[0], fields),
            "usage": _usage(ask, len(files)),
            "seed": ask.seed,
            "painted_by": painted.by.name,
            "resampled_from": files[0].resampled_from,
        }
        if body["size"] not in TYPED:
            body["pixels"] = body.pop("size")
        return JSONResponse(body)

    async def _kept(self, request: Request, file: File) -> str:
        name = new_id("file")
        await asyncio.to_thread(
            self.store.keep_file, name, f"{name}.{file.kind}", "image", file.content
        )
        return str(request.url_for("file_content", file_id=name))

    async def _events(
        self, fields: Generate, ask: Ask, wanted: Wanted, kind: str
    ) -> AsyncIterator[dict[str, Any]]:
        choice = self.painters.named(fields.model)
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

        async def shown(number: int, images: list[np.ndarray]) -> None:
            file = await wanted.file(images[0], ask)
            queue.put_nowait(
                {
                    "type": f"{kind}.partial_image",
                    "partial_image_index": number,
                    "b64_json": file.base64,
                    "created_at": int(time.time()),
                    **_told(file, fields),
                }
            )

        async def work() -> None:
            try:
                if fields.partial_images:
                    growth = Growth(stages(choice, ask), fields.partial_images)
                    painted = await watching(growth, choice.paint(ask, growth), shown)
                else:
                    painted = await choice.paint(ask)
                file = await wanted.file(painted.pixels[0], ask)
                queue.put_nowait(
                    {
                        "type": f"{kind}.completed",
                        "b64_json": file.base64,
                        "created_at": int(time.time()),
                        **_told(file, fields),
                        "usage": _usage(ask, 1),
                        "seed": ask.seed,
                    }
                )
            except Refusal as error:
                queue.put_nowait({"type": "error", **error.body})
            finally:
                queue.put_nowait(None)

        task = asyncio.ensure_future(work())
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            task.cancel()


def _told(file: File, fields: Options) -> dict[str, Any]:
    quality = fields.quality if fields.quality in ("low", "medium", "high") else "high"
    return {"quality": quality, **file.facts}


def _usage(ask: Ask, made: int) -> dict[str, Any]:
    read, shown = len(ask.text.split()), int(ask.source is not None)
    return {
        "input_tokens": read + shown,
        "input_tokens_details": {"text_tokens": read, "image_tokens": shown},
        "output_tokens": made,
        "total_tokens": read + shown + made,
    }


async def _form(request: Request) -> FormData:
    """A multipart body. Raises Refusal for any other."""
    media = request.headers.get("content-type", "")
    if not media.startswith("multipart/form-data"):
        raise Refusal(
            "the body is not multipart/form-data.", status=415, code="unsupported_content_type"
        )
    try:
        return await request.form(max_files=64, max_fields=100)
    except Exception as error:  # whatever a parser makes of malformed bytes
        if type(error).__name__ == "_TooLarge":
            raise
        raise Refusal("the multipart body is broken.", code="invalid_multipart") from None


def _texts(form: FormData) -> dict[str, str]:
    return {name: value for name, value in form.items() if isinstance(value, str)}


async def _images(form: FormData) -> list[Sent]:
    """The images of a form, under `image` or `image[]`, whatever their names and types say."""
    found = [*form.getlist("image"), *form.getlist("image[]")]
    if len(found) > MOST_IMAGES:
        raise Refusal(f"{len(found)} images: {MOST_IMAGES} at most.", param="image")
    if any(isinstance(one, str) for one in found):
        raise Refusal("'image' is a text: send a file.", param="image")
    contents = [await one.read() for one in found if isinstance(one, UploadFile)]
    return [await asyncio.to_thread(received, content, "image") for content in contents]


def media_of(content: bytes) -> str:
    """The media type of an image's first bytes."""
    heads = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}
    kind = next((kind for head, kind in heads.items() if content.startswith(head)), None)
    return MEDIA.get(kind or "", "application/octet-stream")
