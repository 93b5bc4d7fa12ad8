"""/v1/images: generations, edits and variations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from fastapi import Request
from fastapi.responses import Response

from pinxit.serve.api.image_json import image_response
from pinxit.serve.api.multipart import form_texts, load_form_images, load_form_mask, parse_form
from pinxit.serve.api.sse import event_stream, run_while_connected
from pinxit.serve.errors import ApiError, internal_error
from pinxit.serve.inference.progress import PreviewStream, stream_previews
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.inference.requests import GenerationRequest, GenerationResult
from pinxit.serve.inference.router import Router, num_progress_steps
from pinxit.serve.links import FileLinks
from pinxit.serve.logs import log_fault
from pinxit.serve.media.outputs import EncodedImage, OutputSpec, check_options, normalize_quality
from pinxit.serve.media.sources import ImageSources, RequestImages
from pinxit.serve.media.uploads import EditMask, UploadedImage, check_pixel_budget
from pinxit.serve.pools import SHORT_CHARS, read_in_thread, read_in_thread_if, work_on_images
from pinxit.serve.schemas import EditRequest, GenerateRequest, ImageOptions, VariationRequest
from pinxit.serve.store import Store, new_id
from pinxit.serve.validation import convert_form_numbers, parse_json_body, validate

OWN_MASK_MODELS = (None, "dall-e-2")  # for which an image's own alpha is its mask
OPENAI_SIZES = ("1024x1024", "1024x1536", "1536x1024")  # `size` in the types of older clients

Fields = GenerateRequest | VariationRequest
LoadEdit = Callable[[], tuple[list[UploadedImage], UploadedImage | None]]  # images, mask


class ImageJob(NamedTuple):
    """A parsed request, the runs that may answer it, and the format of its images."""

    fields: Fields
    router: Router
    request: GenerationRequest
    spec: OutputSpec


@dataclass(frozen=True)
class ImageRoutes:
    """The three routes."""

    models: ModelRegistry
    store: Store
    sources: ImageSources
    links: FileLinks

    async def generate(self, request: Request) -> Response:
        fields = await parse_json_body(request, GenerateRequest)
        job = await read_in_thread_if(len(fields.prompt) > SHORT_CHARS, self._parse, fields)
        return await self._respond(request, job, "image_generation")

    async def edit(self, request: Request) -> Response:
        fields, load = await self._read_edit(request)
        job = await run_while_connected(request, self._load_edit(fields, load))
        return await self._respond(request, job, "image_edit")

    async def vary(self, request: Request) -> Response:
        form = await parse_form(request, ("image", "image[]"))
        fields = validate(convert_form_numbers(form_texts(form)), VariationRequest)
        source = _only_image(await load_form_images(form), "vary")
        job = await run_while_connected(request, work_on_images(self._parse, fields, source))
        return await self._respond(request, job, "image_variation")

    # -- requests -------------------------------------------------------------------------------

    async def _read_edit(self, request: Request) -> tuple[EditRequest, LoadEdit]:
        """Return the fields of a JSON or multipart body, and what loads its images and mask."""
        if request.headers.get("content-type", "").startswith("application/json"):
            fields = await parse_json_body(request, EditRequest)
            return fields, partial(self._load_references, fields)
        form = await parse_form(request, ("image", "image[]", "mask", "mask[]"))
        fields = validate(convert_form_numbers(form_texts(form)), EditRequest)
        images, mask = await load_form_images(form), await load_form_mask(form)
        return fields, lambda: (images, mask)

    def _load_references(
        self, fields: EditRequest
    ) -> tuple[list[UploadedImage], UploadedImage | None]:
        loader = RequestImages(self.sources, self.store)
        images = [loader.load(ref, f"images[{i}]") for i, ref in enumerate(fields.images)]
        return images, None if fields.mask is None else loader.load(fields.mask, "mask")

    async def _load_edit(self, fields: EditRequest, load: LoadEdit) -> ImageJob:
        images, mask_image = await read_in_thread(load)
        source = _only_image(images, "edit")
        check_pixel_budget([source, mask_image], "image")
        return await work_on_images(self._parse_edit, fields, source, mask_image)

    def _parse_edit(
        self, fields: EditRequest, source: UploadedImage, mask_image: UploadedImage | None
    ) -> ImageJob:
        if mask_image is None and fields.model in OWN_MASK_MODELS and source.has_holes:
            mask_image = source
        mask = None if mask_image is None else EditMask.from_upload(mask_image, source, "mask")
        return self._parse(fields, source, mask)

    def _parse(
        self, fields: Fields, source: UploadedImage | None = None, mask: EditMask | None = None
    ) -> ImageJob:
        """Check the fields, prepare the request for the model that answers it, decode its image."""
        if isinstance(fields, GenerateRequest) and not fields.prompt.strip():
            raise ApiError("The prompt is empty.", param="prompt")
        router = self.models.find(fields.model)
        check_options(fields, has_mask=mask is not None)
        _check_stream(fields)
        if mask is not None:
            router.check_mask(mask)
        request = router.prepare(
            _prompt(fields),
            fields.to_params(),
            n=fields.n or 1,
            source=source,
            mask=mask,
            variation=isinstance(fields, VariationRequest),
            language=fields.language if isinstance(fields, GenerateRequest) else None,
        )
        request.decode()
        default_size = None if source is None else source.size
        spec = OutputSpec.from_options(
            fields, source, mask, request.frame, default_size=default_size
        )
        return ImageJob(fields, router, request, spec)

    # -- responses ------------------------------------------------------------------------------

    async def _respond(self, request: Request, job: ImageJob, event_prefix: str) -> Response:
        if isinstance(job.fields, GenerateRequest) and job.fields.stream:
            return event_stream(self._stream(job, job.fields.partial_images or 0, event_prefix))
        result, images = await run_while_connected(request, _generate(job))
        return await self._to_response(request, job, result, images)

    async def _to_response(
        self,
        request: Request,
        job: ImageJob,
        result: GenerationResult,
        images: list[EncodedImage],
    ) -> Response:
        if job.fields.response_format == "url":
            data = [{"url": await self._save(request, image)} for image in images]
        else:
            data = [{"b64_json": image.base64} for image in images]
        extra = {"revised_prompt": result.prompt_used} if result.prompt_used else {}
        body: dict[str, Any] = {
            "created": int(time.time()),
            "data": [{**image, **extra} for image in data],
            **_describe(images[0], job.fields),
            "usage": _usage(job),
            # extensions
            "seed": job.request.params.seed,
            "model_used": result.model.name,
            "resampled_from": images[0].size_before_resampling,
        }
        if body["size"] not in OPENAI_SIZES:
            body["actual_size"] = body.pop("size")
        return image_response(body)

    async def _save(self, request: Request, image: EncodedImage) -> str:
        """Store an image as a file and return its URL."""
        file_id = new_id("file")
        name = f"{file_id}.{image.format}"
        await asyncio.to_thread(self.store.save_file, file_id, name, "image", image.content)
        return self.links.link(request, file_id)

    async def _stream(
        self, job: ImageJob, num_previews: int, event_prefix: str
    ) -> AsyncIterator[dict[str, Any]]:
        events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        task = asyncio.ensure_future(self._put_events(job, num_previews, event_prefix, events))
        try:
            while (event := await events.get()) is not None:
                yield event
        finally:
            task.cancel()

    async def _put_events(
        self,
        job: ImageJob,
        num_previews: int,
        event_prefix: str,
        events: asyncio.Queue[dict[str, Any] | None],
    ) -> None:
        async def show(index: int, images: list[np.ndarray]) -> None:
            image = await job.spec.encode(images[0])
            fields = {"partial_image_index": index, **_describe_event(image, job.fields)}
            events.put_nowait({"type": f"{event_prefix}.partial_image", **fields})

        try:
            if num_previews:
                previews = PreviewStream(num_progress_steps(job.request), num_previews)
                generation = job.router.generate(job.request, previews)
                result = await stream_previews(previews, generation, show)
            else:
                result = await job.router.generate(job.request)
            image = await job.spec.encode(result.images[0])
            fields = {"usage": _usage(job), "seed": job.request.params.seed}
            fields = {**_describe_event(image, job.fields), **fields}
            events.put_nowait({"type": f"{event_prefix}.completed", **fields})
        except ApiError as error:
            events.put_nowait({"type": "error", **error.body})
        except Exception as error:
            log_fault("a stream of images", error)
            events.put_nowait({"type": "error", **internal_error().body})
        finally:
            events.put_nowait(None)


async def _generate(job: ImageJob) -> tuple[GenerationResult, list[EncodedImage]]:
    result = await job.router.generate(job.request)
    return result, [await job.spec.encode(pixels) for pixels in result.images]


def _only_image(images: list[UploadedImage], verb: str) -> UploadedImage:
    """Return the image of a request. Raises ApiError if there is none, or more than one."""
    if not images:
        raise ApiError(f"There is no image to {verb}.", param="image")
    if len(images) > 1:
        raise ApiError(f"There are {len(images)} images; these models {verb} one.", param="image")
    return images[0]


def _check_stream(fields: Fields) -> None:
    """Raises ApiError for what goes only with a stream, or only without one."""
    if not (isinstance(fields, GenerateRequest) and fields.stream):
        if fields.partial_images:
            message = "Partial images need a stream: 'stream' must be true."
            raise ApiError(message, param="partial_images")
        return
    if (fields.n or 1) != 1:
        raise ApiError("A stream returns one image: 'n' must be 1.", param="n")
    if fields.response_format == "url":
        message = "A stream returns images in base64: 'response_format' cannot be url."
        raise ApiError(message, param="response_format")


def _prompt(fields: Fields) -> str:
    return fields.prompt if isinstance(fields, GenerateRequest) else ""


def _describe(image: EncodedImage, options: ImageOptions) -> dict[str, Any]:
    return {"quality": normalize_quality(options), **image.fields}


def _describe_event(image: EncodedImage, options: ImageOptions) -> dict[str, Any]:
    created = {"b64_json": image.base64, "created_at": int(time.time())}
    return {**created, **_describe(image, options)}


def _usage(job: ImageJob) -> dict[str, Any]:
    """Count words as tokens, and each image as one."""
    num_text, num_images = len(_prompt(job.fields).split()), int(job.request.source is not None)
    return {
        "input_tokens": num_text + num_images,
        "input_tokens_details": {"text_tokens": num_text, "image_tokens": num_images},
        "output_tokens": job.request.n,
        "total_tokens": num_text + num_images + job.request.n,
    }
