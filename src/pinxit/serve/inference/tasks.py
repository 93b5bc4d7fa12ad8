"""Each ability as a task of a model's worker: the rows of a batch to their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.errors import PinxitError
from pinxit.models.protocols import CanCompleteStream, CanSampleStream, HasLabels, HasLearnedPrior
from pinxit.nn.rng import mix_seed
from pinxit.serve.errors import Refusal
from pinxit.serve.inference.batching import Job, Task, finished
from pinxit.serve.inference.registry import Served
from pinxit.serve.inference.requests import Ask, Growing, Painted
from pinxit.serve.media.uploads import Mask
from pinxit.serve.prompts import caption_of

STEPS = (1 / 3, 2 / 3)  # of the way from the prior's middle, where a VAE's growth is asked for

NEAR = 0.6  # of the prior's deviation, by which a variation leaves its image's latent


async def finish(
    by: Served, kind: Any, task: Task, rows: Sequence[Any], growing: Growing | None = None
) -> list[Any]:
    """The results of a task of this run's worker. Raises Refusal for what the model refuses."""
    shown = None if growing is None else (lambda results: growing(list(results)))
    try:
        return await finished(by.worker, Job((by.name, kind), task, rows, shown))
    except PinxitError as error:
        raise Refusal(str(error)) from None


def seeds(ask: Ask) -> list[int]:
    """Of each image: the same as `--seed` gives the command line."""
    return [mix_seed(ask.seed, i) for i in range(ask.n)]


async def _drawn(
    by: Served, ask: Ask, growing: Growing | None, action: str, reranker: Served | None
) -> Painted:
    text = by.model.truncate_text(caption_of(ask.text))
    how: dict[str, Any] = dict(ask.how) | ({} if reranker is None else {"reranker": reranker.model})

    def task(rows: Sequence[tuple[str, int]]) -> Iterator[list[np.ndarray]]:
        texts, each = [text for text, _ in rows], [seed for _, seed in rows]
        for images in by.model.draw_stream(texts, seed=each, **how):
            yield list(images.pixels)

    rows = [(text, seed) for seed in seeds(ask)]
    kind = ("draw", ask.how, reranker and reranker.name)
    return Painted(await finish(by, kind, task, rows, growing), by, action, text)


async def _edited(by: Served, ask: Ask, growing: Growing | None) -> Painted:
    assert ask.source is not None
    text, before = by.model.truncate_text(ask.text), ask.source.fitted(by.info)
    how = dict(ask.how) if ask.how or ask.n > 1 else {"temperature": 0.0}

    def task(rows: Sequence[tuple[np.ndarray, str, int]]) -> Iterator[list[np.ndarray]]:
        given = Images(np.stack([row[0] for row in rows]))
        texts, each = [row[1] for row in rows], [row[2] for row in rows]
        for images in by.model.edit_stream(given, texts, seed=each, **how):
            yield list(images.pixels)

    rows = [(before, text, seed) for seed in seeds(ask)]
    kind = ("edit", tuple(sorted(how.items())))
    return Painted(await finish(by, kind, task, rows, growing), by, "edit", text)


async def _completed(by: Served, ask: Ask, mask: Mask, growing: Growing | None) -> Painted:
    assert ask.source is not None
    how = {name: value for name, value in ask.how if name == "temperature"}
    grows = isinstance(by.model, CanCompleteStream)

    def task(rows: Sequence[tuple[np.ndarray, np.ndarray, int]]) -> Iterator[list[np.ndarray]]:
        given = Images(np.stack([row[0] for row in rows]))
        missing, each = np.stack([row[1] for row in rows]), [row[2] for row in rows]
        if grows:
            for images in by.model.complete_stream(given, missing, seed=each, **how):
                yield list(images.pixels)
        else:
            yield list(by.model.complete(given, missing, seed=each, **how).pixels)

    before = ask.source.fitted(by.info)
    rows = [(before, mask, seed) for seed in seeds(ask)]
    kind = ("complete", tuple(sorted(how.items())))
    made = await finish(by, kind, task, rows, growing)
    return Painted(made, by, "edit", f"{ask.text} ({by.name} paints what fits and reads no words)")


async def _sampled(by: Served, ask: Ask, growing: Growing | None) -> Painted:
    label = label_in(by, ask.text)
    how = {name: value for name, value in ask.how if name == "temperature"}
    watched = growing is not None

    def task(rows: Sequence[int]) -> Iterator[list[np.ndarray]]:
        options: dict[str, Any] = {"seed": rows, **how, **({"label": label} if label else {})}
        if watched and isinstance(by.model, CanSampleStream):
            for images in by.model.sample_stream(len(rows), **options):
                yield list(images.pixels)
            return
        if watched:
            whole = how.get("temperature", 1.0)
            for step in STEPS:
                some = {**options, "temperature": step * whole}
                yield list(by.model.sample(len(rows), **some).pixels)
        yield list(by.model.sample(len(rows), **options).pixels)

    kind = ("sample", label, watched, tuple(sorted(how.items())))
    made = await finish(by, kind, task, seeds(ask), growing)
    said = label if label else f"{ask.text} ({by.name} paints out of nothing and reads no words)"
    return Painted(made, by, "generate", said)


async def _varied(by: Served, ask: Ask) -> Painted:
    assert ask.source is not None

    def task(rows: Sequence[tuple[np.ndarray, int]]) -> Iterator[list[np.ndarray]]:
        found = by.model.encode(Images(np.stack([row[0] for row in rows]))).mean
        noise = [np.random.default_rng(row[1]).standard_normal(found.shape[1]) for row in rows]
        z = np.sqrt(1 - NEAR**2) * found + NEAR * np.stack(noise)
        yield list(by.model.decode(z.astype(np.float32)).pixels)

    before = ask.source.fitted(by.info)
    made = await finish(by, "vary", task, [(before, seed) for seed in seeds(ask)])
    return Painted(made, by, "edit", f"{ask.text} ({by.name} varies images and reads no words)")


async def _reconstructed(by: Served, ask: Ask) -> Painted:
    assert ask.source is not None

    def task(rows: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        yield list(by.model.reconstruct(Images(np.stack(rows))).pixels)

    made = await finish(by, "reconstruct", task, [ask.source.fitted(by.info)] * ask.n)
    return Painted(made, by, "edit", f"{ask.text} ({by.name} gives images back, no others)")


def label_in(by: Served, text: str) -> str | None:
    """A label that the model is told and the text names, the longest first."""
    if not (isinstance(by.model, HasLabels) and by.model.label_conditional):
        return None
    said = f" {text.lower()} "
    for name in sorted(by.info.label_names, key=len, reverse=True):
        if f" {name.lower()} " in said.replace(",", " ").replace(".", " "):
            return name
    return None


async def decoded(by: Served, z: np.ndarray) -> np.ndarray:
    """One latent as an image."""

    def task(rows: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        yield list(by.model.decode(np.stack(rows)).pixels)

    return (await finish(by, "decode", task, [z]))[0]


async def latents_of(by: Served, seed: int) -> tuple[list[float], list[int]]:
    """A latent of the prior, and the latents' numbers, those first that move an image most."""

    def task(rows: Sequence[int]) -> Iterator[list[tuple[list[float], list[int]]]]:
        yield [_moving(by.model, row) for row in rows]

    return (await finish(by, "latents", task, [seed]))[0]


def _moving(model: Any, seed: int) -> tuple[list[float], list[int]]:
    size = int(model.config.latent_dim)
    noise = np.random.default_rng(seed).standard_normal((1, size)).astype(np.float32)
    z = (model.from_noise(noise) if isinstance(model, HasLearnedPrior) else noise)[0]
    ends = np.concatenate([z + 2 * np.eye(size, dtype=np.float32), z - 2 * np.eye(size)])
    made = model.decode(ends.astype(np.float32)).pixels.astype(np.float32).reshape(2, size, -1)
    moved = np.square(made[0] - made[1]).mean(-1)
    return [float(v) for v in z], [int(i) for i in np.argsort(-moved, kind="stable")]
