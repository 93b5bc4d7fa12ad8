"""Generate images for the page: a stream of progress, then the images with how to repeat each.

Closing the stream cancels the work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pinxit.models.generation import GenerationParams
from pinxit.models.protocols import CanCompleteStream, CanDraw, CanEdit, CanSampleStream
from pinxit.serve.errors import ApiError, internal_error
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.requests import GenerationRequest, Route
from pinxit.serve.inference.router import Router
from pinxit.serve.inference.tasks import resolve_label
from pinxit.serve.logs import log_fault
from pinxit.serve.media.sources import ImageSources, RequestImages
from pinxit.serve.media.uploads import EditMask, UploadedImage, check_pixel_budget
from pinxit.serve.pools import read_in_thread, work_on_images
from pinxit.serve.studio.recipes import make_recipe
from pinxit.serve.studio.request import StudioRequest, Task
from pinxit.serve.studio.text import to_base64_png

PREVIEW_SECONDS = 0.2  # between two previews of a stream, at least

Event = dict[str, Any]


class ProgressStream:
    """A `PreviewCallback` that passes the newest step to the event loop, a few times a second."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[int, list[np.ndarray]] | None] = asyncio.Queue()
        self._step, self._last = 0, 0.0

    def __call__(self, images: Sequence[np.ndarray]) -> None:
        self._step += 1
        if time.monotonic() - self._last >= PREVIEW_SECONDS:
            self._last = time.monotonic()
            self._put((self._step, [image.copy() for image in images]))

    def close(self) -> None:
        self._queue.put_nowait(None)

    def _put(self, update: tuple[int, list[np.ndarray]]) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, update)

    async def next(self) -> tuple[int, list[np.ndarray]] | None:
        """Return the newest step and its images; None after the last one."""
        update = await self._queue.get()
        while update is not None and not self._queue.empty():
            update = self._queue.get_nowait()
        return update


async def prepare_request(run: LoadedRun, fields: StudioRequest) -> GenerationRequest:
    """Check the fields and load the images. Raises ApiError for what cannot be generated."""
    if fields.task in ("draw", "edit") and not fields.prompt.strip():
        raise ApiError("Write a few words first.", param="prompt")
    params = GenerationParams(seed=fields.seed, start=fields.start, **fields.options)
    if fields.task == "sample":
        label = resolve_label(run, fields.label) if fields.label else None
        return GenerationRequest(
            "", fields.n, None, None, params, Route("sample", run), label=label
        )
    if fields.task == "draw":
        prepared = Router([run]).prepare(
            fields.prompt, params, n=fields.n, language=fields.language
        )
        return replace(prepared, route=Route("draw", run))
    source = await _load_image(fields.image, "image")
    mask = None
    if fields.task == "complete":
        loaded = await _load_image(fields.mask, "mask")
        check_pixel_budget([source, loaded], "image")
        mask = await work_on_images(EditMask.from_upload, loaded, source, "mask")
        await work_on_images(mask.fit_to, run.info)
    prepared = Router([run]).prepare(
        fields.prompt, params, n=fields.n, source=source, mask=mask, language=fields.language
    )
    # the page shows the middle of an image, as the model reads it
    return replace(prepared, route=Route(fields.task, run), frame=None)


async def _load_image(url: str, param: str) -> UploadedImage:
    if not url:
        raise ApiError("Choose an image first.", param=param)
    return await read_in_thread(RequestImages(ImageSources()).load_url, url, param)


async def stream_generation(
    run: LoadedRun, path: str, fields: StudioRequest, request: GenerationRequest
) -> AsyncIterator[Event]:
    """Yield `progress` events, then `done` or `error`."""
    progress = ProgressStream()
    on_preview = progress if shows_progress(run, fields.task) else None
    task = asyncio.ensure_future(Router([run]).generate(request, on_preview))
    task.add_done_callback(lambda _: progress.close())
    try:
        while (update := await progress.next()) is not None:
            step, images = update
            encoded = [await work_on_images(to_base64_png, pixels) for pixels in images]
            steps = getattr(run.model, "num_progress_steps", None)
            yield {"type": "progress", "step": step, "steps": steps, "images": encoded}
        result = await task
        done = [
            {
                "png": await work_on_images(to_base64_png, pixels),
                "index": fields.start + i,
                **make_recipe(run, path, fields, result.prompt_used, fields.start + i),
            }
            for i, pixels in enumerate(result.images)
        ]
        yield {"type": "done", "images": done, "notes": describe_reading(request)}
    except ApiError as error:
        yield {"type": "error", **error.body}
    except Exception as error:
        log_fault("a stream of the page", error)
        yield {"type": "error", **internal_error().body}
    finally:
        task.cancel()


def shows_progress(run: LoadedRun, task: Task) -> bool:
    """Return whether a task of the model yields images while they are generated."""
    protocols = {
        "sample": CanSampleStream,
        "draw": CanDraw,
        "edit": CanEdit,
        "complete": CanCompleteStream,
    }
    return isinstance(run.model, protocols[task])


def describe_reading(request: GenerationRequest) -> list[str]:
    """Return what the model could not read of the prompt, as the command line warns of it."""
    notes = []
    if request.unknown_words:
        words = ", ".join(request.unknown_words)
        notes.append(f"Not in the training captions, so the model can only guess: {words}.")
    if request.left_out:
        notes.append(f"Longer than the model reads; left out: {request.left_out}.")
    return notes
