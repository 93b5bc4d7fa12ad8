"""The abilities as batched tasks, which map the rows of all requests in a batch to images."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pinxit.data.batch import DatasetInfo
from pinxit.data.images import Images
from pinxit.data.unicode_forms import normalize_label
from pinxit.errors import PinxitError, UnusedOptionError, UsageError
from pinxit.models.generation import GenerationParams, resolve_params
from pinxit.models.protocols import (
    CanComplete,
    CanCompleteStream,
    CanDraw,
    CanEdit,
    CanEncode,
    CanReconstruct,
    CanSample,
    CanSampleStream,
    HasLabels,
)
from pinxit.serve.errors import MAX_ECHO_CHARS, ApiError, clean_text
from pinxit.serve.inference.batching import Job, Task, run_job
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.requests import GenerationRequest, GenerationResult, PreviewCallback
from pinxit.serve.pools import work_on_images

# previews of a model that generates all pixels at once: samples at these parts of the temperature
PREVIEW_TEMPERATURES = (1 / 3, 2 / 3)
# a variation keeps sqrt(1 - s^2) of its image's latent and adds s of a sample of the prior
VARIATION_SCALE = 0.6

MAX_ERROR_CHARS = 500  # of a list of labels

Rows = Iterator[list[np.ndarray]]


def batch_key(ability: str, params: GenerationParams, *options: Hashable) -> Hashable:
    """Return the key of requests that can share a batch: seeds belong to each row."""
    return (ability, replace(params, seed=0, start=0), *options)


async def run_task(
    run: LoadedRun,
    key: Hashable,
    task: Task,
    rows: Sequence[Any],
    on_preview: PreviewCallback | None = None,
) -> list[Any]:
    """Run a task in the run's worker. Raises ApiError if the model rejects the input."""
    on_progress = None if on_preview is None else (lambda results: on_preview(list(results)))
    try:
        return await run_job(run.worker, Job(key, task, rows, on_progress))
    except UnusedOptionError as error:
        raise ApiError(str(error), param=error.unused[0]) from None
    except PinxitError as error:
        raise ApiError(str(error)) from None


def _refuse_sampling_options(request: GenerationRequest) -> None:
    """Raises ApiError for options of a sampler, where there is none: only seeds are used."""
    try:
        resolve_params(request.params, {}, ("seed", "start"))
    except UnusedOptionError as error:
        raise ApiError(str(error), param=error.unused[0]) from None


async def draw(
    run: LoadedRun, request: GenerationRequest, on_preview: PreviewCallback | None
) -> GenerationResult:
    model: CanDraw = run.model

    has_previews = on_preview is not None  # each of which is decoded

    def task(rows: Sequence[tuple[str, int]]) -> Rows:
        prompts, seeds = [row[0] for row in rows], [row[1] for row in rows]
        params, language = replace(request.params, seed=seeds, start=0), request.language
        if not has_previews:
            yield list(model.draw(prompts, params, language=language).pixels)
            return
        for images in model.draw_stream(prompts, params, language=language):
            yield list(images.pixels)

    rows = [(request.prompt, seed) for seed in request.seeds]
    key = batch_key("draw", request.params, request.language, has_previews)
    images = await run_task(run, key, task, rows, on_preview)
    action = "generate" if request.source is None else "edit"
    return GenerationResult(images, run, action, request.prompt, reads_prompt=True)


async def edit(
    run: LoadedRun, request: GenerationRequest, on_preview: PreviewCallback | None
) -> GenerationResult:
    assert request.source is not None
    model: CanEdit = run.model

    def task(rows: Sequence[tuple[np.ndarray, str, int]]) -> Rows:
        sources = Images(np.stack([row[0] for row in rows]))
        prompts, seeds = [row[1] for row in rows], [row[2] for row in rows]
        params, language = replace(request.params, seed=seeds, start=0), request.language
        for images in model.edit_stream(sources, prompts, params, language=language):
            yield list(images.pixels)

    source = await work_on_images(request.source.fit_to, run.info, request.frame)
    rows = [(source, request.prompt, seed) for seed in request.seeds]
    key = batch_key("edit", request.params, request.language)
    images = await run_task(run, key, task, rows, on_preview)
    return GenerationResult(images, run, "edit", request.prompt, reads_prompt=True)


async def complete(
    run: LoadedRun, request: GenerationRequest, on_preview: PreviewCallback | None
) -> GenerationResult:
    assert request.source is not None
    assert request.mask is not None
    model: CanComplete = run.model
    params = request.params
    has_previews = on_preview is not None

    def task(rows: Sequence[tuple[np.ndarray, np.ndarray, int]]) -> Rows:
        sources = Images(np.stack([row[0] for row in rows]))
        masks, seeds = np.stack([row[1] for row in rows]), [row[2] for row in rows]
        seeded = replace(params, seed=seeds, start=0)
        if has_previews and isinstance(model, CanCompleteStream):
            for images in model.complete_stream(sources, masks, seeded):
                yield list(images.pixels)
        else:
            yield list(model.complete(sources, masks, seeded).pixels)

    source = await work_on_images(request.source.fit_to, run.info, request.frame)
    mask = await work_on_images(request.mask.fit_to, run.info, request.frame)
    rows = [(source, mask, seed) for seed in request.seeds]
    key = batch_key("complete", params, has_previews)
    images = await run_task(run, key, task, rows, on_preview)
    note = _without_prompt(run, request, "completes")
    return GenerationResult(images, run, "edit", note)


async def sample(
    run: LoadedRun, request: GenerationRequest, on_preview: PreviewCallback | None
) -> GenerationResult:
    model: CanSample = run.model
    if request.label is not None:
        label = resolve_label(run, request.label)
    else:
        label = find_label(model, run.info, request.prompt)
    params = request.params
    has_previews = on_preview is not None

    def task(rows: Sequence[int]) -> Rows:
        seeded = replace(params, seed=rows, start=0)
        if has_previews and isinstance(model, CanSampleStream):
            for images in model.sample_stream(len(rows), seeded, label=label):
                yield list(images.pixels)
            return
        if has_previews:
            temperature = 1.0 if params.temperature is None else params.temperature
            for part in PREVIEW_TEMPERATURES:
                preview = replace(seeded, temperature=part * temperature)
                yield list(model.sample(len(rows), preview, label=label).pixels)
        yield list(model.sample(len(rows), seeded, label=label).pixels)

    key = batch_key("sample", params, label, has_previews)
    images = await run_task(run, key, task, request.seeds, on_preview)
    note = clean_text(label or "", MAX_ECHO_CHARS) or _without_prompt(run, request, "samples")
    return GenerationResult(images, run, "generate", note, reads_prompt=label is not None)


async def vary(
    run: LoadedRun, request: GenerationRequest, on_preview: PreviewCallback | None
) -> GenerationResult:
    """Decode latents near the source's. No previews."""
    assert request.source is not None
    _refuse_sampling_options(request)
    model: CanEncode = run.model

    def task(rows: Sequence[tuple[np.ndarray, int]]) -> Rows:
        mean = model.encode(Images(np.stack([row[0] for row in rows]))).flatten().mean
        noise = [np.random.default_rng(row[1]).standard_normal(mean.shape[1]) for row in rows]
        z = np.sqrt(1 - VARIATION_SCALE**2) * mean + VARIATION_SCALE * np.stack(noise)
        yield list(model.decode(z.astype(np.float32)).pixels)

    source = await work_on_images(request.source.fit_to, run.info, request.frame)
    rows = [(source, seed) for seed in request.seeds]
    images = await run_task(run, "vary", task, rows)
    note = _without_prompt(run, request, "varies")
    return GenerationResult(images, run, "edit", note)


async def reconstruct(
    run: LoadedRun, request: GenerationRequest, on_preview: PreviewCallback | None
) -> GenerationResult:
    """Reconstruct the source. No previews."""
    assert request.source is not None
    _refuse_sampling_options(request)
    model: CanReconstruct = run.model

    def task(rows: Sequence[np.ndarray]) -> Rows:
        yield list(model.reconstruct(Images(np.stack(rows))).pixels)

    rows = [await work_on_images(request.source.fit_to, run.info, request.frame)] * request.n
    images = await run_task(run, "reconstruct", task, rows)
    note = _without_prompt(run, request, "reconstructs")
    return GenerationResult(images, run, "edit", note)


GenerationTask = Callable[
    [LoadedRun, GenerationRequest, PreviewCallback | None], Awaitable[GenerationResult]
]
TASKS: dict[str, GenerationTask] = {
    "draw": draw,
    "edit": edit,
    "complete": complete,
    "sample": sample,
    "encode": vary,
    "reconstruct": reconstruct,
}


def _without_prompt(run: LoadedRun, request: GenerationRequest, verb: str) -> str:
    """Return the `prompt_used` of a model that reads no prompt."""
    return f"{request.prompt} ({run.name} {verb} images and reads no prompt)".strip()


def resolve_label(run: LoadedRun, label: str) -> str:
    """Return the name of the label that a client selects, by name or by number.

    Raises ApiError if the run has no such label. Clients know names as `clean_text` shows them.
    """
    if not _reads_labels(run.model):
        raise ApiError(f"{run.name} was trained without labels.", param="label")
    shown = {clean_text(name): name for name in run.info.label_names}
    try:
        return run.info.label_names[run.info.label_index(shown.get(label, label))]
    except UsageError as error:
        raise ApiError(clean_text(str(error), MAX_ERROR_CHARS), param="label") from None


def find_label(model: object, info: DatasetInfo, text: str) -> str | None:
    """Return the longest label name in a text, for a model that is conditional on labels.

    A name in the text's own case comes before one in another.
    """
    if not _reads_labels(model):
        return None
    text = normalize_label(text)
    names = sorted(filter(None, info.label_names), key=len, reverse=True)
    for flags in (0, re.IGNORECASE):
        for name in names:
            if re.search(rf"(?<!\w){re.escape(normalize_label(name))}(?!\w)", text, flags):
                return name
    return None


def _reads_labels(model: object) -> bool:
    return isinstance(model, HasLabels) and model.label_conditional
