"""Served runs, and what can be asked of them: each ability as a task of its model's worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pinxit.data.batch import Facts
from pinxit.data.images import Images
from pinxit.errors import PinxitError, UsageError
from pinxit.models.blocks import mix
from pinxit.models.contract import abilities, require
from pinxit.runs import Run
from pinxit.serve.images import Mask, Sent, mask_of
from pinxit.serve.refusals import Refusal, unknown_model
from pinxit.serve.speech import caption_of
from pinxit.serve.workers import Job, Task, Worker, finished

ROUTER = "pinxit"  # the name of all runs together: each request goes to one that can do it
CHAT_NAMES = (
    "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-5.1", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano",
    "gpt-4o", "gpt-4o-mini", "gpt-4", "o3", "o4-mini",
)  # fmt: skip
IMAGE_NAMES = (
    "gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2", "chatgpt-image-latest",
    "dall-e-2", "dall-e-3",
)  # fmt: skip
STEPS = (1 / 3, 2 / 3)  # of the way from the prior's middle, where a VAE's growth is asked for
NEAR = 0.6  # of the prior's deviation, by which a variation leaves its image's latent

Growing = Callable[[list[np.ndarray]], None]


@dataclass(eq=False)
class Served:
    """A run in memory, its worker, and what it can do."""

    name: str
    run: Run
    model: Any
    worker: Worker
    since: int = field(default_factory=lambda: int(time.time()))

    @property
    def abilities(self) -> tuple[str, ...]:
        return abilities(self.model)

    @property
    def facts(self) -> Facts:
        return self.model.facts


@dataclass(frozen=True)
class Ask:
    """An image that is asked for."""

    text: str = ""
    n: int = 1
    seed: int = 0
    source: Sent | None = None
    mask: bytes | None = None  # transparent where the source is to be painted anew
    how: tuple[tuple[str, Any], ...] = ()  # temperature, guidance, top_k, top_p, tries


@dataclass(frozen=True)
class Painted:
    """Images that were made, by whom, from which words."""

    pixels: list[np.ndarray]
    by: Served
    action: str  # generate or edit
    said: str  # the words that the model was given, or why it was given none


class Painters:
    """All served runs and the names that they go by."""

    def __init__(self, served: Sequence[Served], aliases: dict[str, str] | None = None) -> None:
        self.served = {one.name: one for one in served}
        self.aliases: dict[str, str] = dict.fromkeys((ROUTER, *CHAT_NAMES, *IMAGE_NAMES), ROUTER)
        for alias, name in (aliases or {}).items():
            if name not in self.served and name != ROUTER:
                raise UsageError(f"alias {alias}={name}: there is no run '{name}' here.")
            self.aliases[alias] = name
        for name in self.served:
            self.aliases.pop(name, None)

    @property
    def names(self) -> list[str]:
        return [*self.served, *self.aliases]

    def named(self, name: str | None) -> Choice:
        """The runs that a name stands for. Raises Refusal for a name that is not here."""
        if name is None:
            return Choice(list(self.served.values()))
        target = self.aliases.get(name, name)
        if target == ROUTER:
            return Choice(list(self.served.values()))
        if target not in self.served:
            raise unknown_model(name, self.names)
        return Choice([self.served[target]])

    def stop(self) -> None:
        for one in self.served.values():
            one.worker.stop()


def load(paths: Sequence[Path], device: str, waiting: int) -> list[Served]:
    """Runs into memory. Raises PinxitError for one that is none, UsageError for a name twice."""
    found: list[Served] = []
    for path in paths:
        run = Run(path)
        if run.name in [one.name for one in found]:
            raise UsageError(f"two runs are named '{run.name}': rename one of their folders.")
        found.append(Served(run.name, run, run.load(device), Worker(run.name, waiting)))
    return found


@dataclass(frozen=True)
class Choice:
    """Runs among which a request finds one that can do what it asks."""

    among: list[Served]

    def able(self, *wanted: str) -> Served | None:
        """The first run with one of these abilities, the earlier ability first."""
        for ability in wanted:
            for one in self.among:
                if ability in one.abilities:
                    return one
        return None

    def required(self, ability: str) -> Served:
        """Raises PinxitError, which says who could, where none of the runs can."""
        found = self.able(ability)
        if found is None:
            require(self.among[0].model, ability)
        assert found is not None
        return found

    # -- images -------------------------------------------------------------------------------

    async def paint(self, ask: Ask, growing: Growing | None = None) -> Painted:
        """An image from words, from nothing, or from another image: by the run that can best.

        Raises Refusal where no run here makes images.
        """
        if ask.mask is not None and (by := self.able("complete")) and ask.source:
            mask = mask_of(ask.mask, ask.source, by.facts)
            return await _completed(by, ask, mask, growing)
        if ask.source is not None:
            if by := self.able("edit"):
                return await _edited(by, ask, growing)
            if by := self.able("draw"):  # the words of all turns together
                return await _drawn(by, ask, growing, "edit", self.judge(by, ask))
            if by := self.able("encode"):
                return await _varied(by, ask)
        if by := self.able("draw"):
            return await _drawn(by, ask, growing, "generate", self.judge(by, ask))
        if by := self.able("sample"):
            return await _sampled(by, ask, growing)
        if ask.source is not None and (by := self.able("reconstruct")):
            return await _reconstructed(by, ask)
        names = ", ".join(f"{one.name} ({', '.join(one.abilities)})" for one in self.among)
        raise Refusal(f"no model here makes new images: {names}.", param="model")

    def judge(self, by: Served, ask: Ask) -> Served | None:
        """Of several tries: a run among these that captions such images, in all its languages."""
        if dict(ask.how).get("tries", 1) < 2:
            return None
        own = by.facts.height, by.facts.width, by.facts.channels
        for one in self.among:
            if "caption" not in one.abilities:
                continue
            alike = own == (one.facts.height, one.facts.width, one.facts.channels)
            if alike and set(by.model.words.languages) <= set(one.model.words.languages):
                return one
        return None

    async def vary(self, ask: Ask) -> Painted:
        """Images near another one."""
        if by := self.able("encode"):
            return await _varied(by, ask)
        if by := self.able("reconstruct"):
            return await _reconstructed(by, ask)
        return await self.paint(ask)

    # -- words and numbers ----------------------------------------------------------------------

    async def describe(self, source: Sent, language: str, beams: int = 4) -> str | None:
        """An image in words; None where no run here has them."""
        by = self.able("caption")
        if by is None:
            return None
        known = by.model.words.languages
        chosen = language if language in known else ("en" if "en" in known else known[0])

        def task(rows: Sequence[np.ndarray]) -> Iterator[list[str]]:
            found = by.model.caption(Images(np.stack(rows)), language=chosen, beams=beams)
            yield [row[0].text for row in found]

        rows = [source.fitted(by.facts)]
        return (await finish(by, ("caption", chosen, beams), task, rows))[0]

    async def embed(self, sources: Sequence[Sent]) -> tuple[Served, list[np.ndarray]]:
        """A vector of each image."""
        by = self.required("embed")

        def task(rows: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
            yield list(by.model.embed(Images(np.stack(rows))))

        rows = [source.fitted(by.facts) for source in sources]
        return by, await finish(by, "embed", task, rows)


# -- each ability as a task: rows of all requests of a batch to their results ---------------------


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
    return [mix(ask.seed, i) for i in range(ask.n)]


async def _drawn(
    by: Served, ask: Ask, growing: Growing | None, action: str, judge: Served | None
) -> Painted:
    text = readable(by.model, caption_of(ask.text))
    how: dict[str, Any] = dict(ask.how) | ({} if judge is None else {"judge": judge.model})

    def task(rows: Sequence[tuple[str, int]]) -> Iterator[list[np.ndarray]]:
        texts, each = [text for text, _ in rows], [seed for _, seed in rows]
        for images in by.model.drawing(texts, seed=each, **how):
            yield list(images.pixels)

    rows = [(text, seed) for seed in seeds(ask)]
    kind = ("draw", ask.how, judge and judge.name)
    return Painted(await finish(by, kind, task, rows, growing), by, action, text)


async def _edited(by: Served, ask: Ask, growing: Growing | None) -> Painted:
    assert ask.source is not None
    text, before = readable(by.model, ask.text), ask.source.fitted(by.facts)
    how = dict(ask.how) if ask.how or ask.n > 1 else {"temperature": 0.0}

    def task(rows: Sequence[tuple[np.ndarray, str, int]]) -> Iterator[list[np.ndarray]]:
        given = Images(np.stack([row[0] for row in rows]))
        texts, each = [row[1] for row in rows], [row[2] for row in rows]
        for images in by.model.editing(given, texts, seed=each, **how):
            yield list(images.pixels)

    rows = [(before, text, seed) for seed in seeds(ask)]
    kind = ("edit", tuple(sorted(how.items())))
    return Painted(await finish(by, kind, task, rows, growing), by, "edit", text)


async def _completed(by: Served, ask: Ask, mask: Mask, growing: Growing | None) -> Painted:
    assert ask.source is not None
    how = {name: value for name, value in ask.how if name == "temperature"}
    grows = hasattr(by.model, "completing")

    def task(rows: Sequence[tuple[np.ndarray, np.ndarray, int]]) -> Iterator[list[np.ndarray]]:
        given = Images(np.stack([row[0] for row in rows]))
        missing, each = np.stack([row[1] for row in rows]), [row[2] for row in rows]
        if grows:
            for images in by.model.completing(given, missing, seed=each, **how):
                yield list(images.pixels)
        else:
            yield list(by.model.complete(given, missing, seed=each, **how).pixels)

    before = ask.source.fitted(by.facts)
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
        if watched and hasattr(by.model, "growing"):
            for images in by.model.growing(len(rows), **options):
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

    before = ask.source.fitted(by.facts)
    made = await finish(by, "vary", task, [(before, seed) for seed in seeds(ask)])
    return Painted(made, by, "edit", f"{ask.text} ({by.name} varies images and reads no words)")


async def _reconstructed(by: Served, ask: Ask) -> Painted:
    assert ask.source is not None

    def task(rows: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        yield list(by.model.reconstruct(Images(np.stack(rows))).pixels)

    made = await finish(by, "reconstruct", task, [ask.source.fitted(by.facts)] * ask.n)
    return Painted(made, by, "edit", f"{ask.text} ({by.name} gives images back, no others)")


def label_in(by: Served, text: str) -> str | None:
    """A label that the model is told and the text names, the longest first."""
    if getattr(by.model.config, "condition", "none") != "label":
        return None
    said = f" {text.lower()} "
    for name in sorted(by.facts.label_names, key=len, reverse=True):
        if f" {name.lower()} " in said.replace(",", " ").replace(".", " "):
            return name
    return None


def readable(model: Any, text: str) -> str:
    """As much of a text as a model reads: its first words, where it is longer."""
    most, words = model.length - 2, model.words
    text = " ".join(text.split()) or "?"
    text = text[: 40 * most]
    while len(words.encode(text)) > most:
        cut = text[: int(len(text) * 0.9)]
        text = cut.rsplit(" ", 1)[0] if " " in cut else cut
    return text


def stages(choice: Choice, ask: Ask) -> int:
    """In about how many stages an image grows before it is whole."""
    by = choice.able("complete") if ask.mask is not None else None
    if by is None:
        wanted = ("edit", "draw", "encode") if ask.source is not None else ("draw", "sample")
        by = choice.able(*wanted)
    model = None if by is None else by.model
    codes = getattr(model, "codes", None)
    if codes is not None and hasattr(codes, "grid"):
        return int(codes.grid[0])
    block = getattr(model, "block", None)
    if block and by is not None and hasattr(model, "growing"):
        return by.facts.height // int(block)
    return len(STEPS) + 1


# -- latents, for a page that moves them ----------------------------------------------------------


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
    transform = getattr(model, "from_noise", lambda rows: rows)  # as Priors has it
    z = transform(noise)[0]
    ends = np.concatenate([z + 2 * np.eye(size, dtype=np.float32), z - 2 * np.eye(size)])
    made = model.decode(ends.astype(np.float32)).pixels.astype(np.float32).reshape(2, size, -1)
    moved = np.square(made[0] - made[1]).mean(-1)
    return [float(v) for v in z], [int(i) for i in np.argsort(-moved, kind="stable")]
