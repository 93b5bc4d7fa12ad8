"""Served runs, and what can be asked of them: each ability as a task of its model's worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.abilities import require
from pinxit.models.protocols import CanDraw, CanEdit, CanSampleStream
from pinxit.serve.errors import Refusal, unknown_model
from pinxit.serve.inference.registry import CHAT_NAMES, IMAGE_NAMES, Served
from pinxit.serve.inference.requests import Ask, Growing, Painted
from pinxit.serve.inference.tasks import (
    STEPS,
    _completed,
    _drawn,
    _edited,
    _reconstructed,
    _sampled,
    _varied,
    finish,
)
from pinxit.serve.media.uploads import Sent, mask_of

ROUTER = "pinxit"  # the name of all runs together: each request goes to one that can do it


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
            mask = mask_of(ask.mask, ask.source, by.info)
            return await _completed(by, ask, mask, growing)
        if ask.source is not None:
            if by := self.able("edit"):
                return await _edited(by, ask, growing)
            if by := self.able("draw"):  # the words of all turns together
                return await _drawn(by, ask, growing, "edit", self.find_reranker(by, ask))
            if by := self.able("encode"):
                return await _varied(by, ask)
        if by := self.able("draw"):
            return await _drawn(by, ask, growing, "generate", self.find_reranker(by, ask))
        if by := self.able("sample"):
            return await _sampled(by, ask, growing)
        if ask.source is not None and (by := self.able("reconstruct")):
            return await _reconstructed(by, ask)
        names = ", ".join(f"{one.name} ({', '.join(one.abilities)})" for one in self.among)
        raise Refusal(f"no model here makes new images: {names}.", param="model")

    def find_reranker(self, by: Served, ask: Ask) -> Served | None:
        """Of several tries: a run among these that captions such images, in all its languages."""
        if dict(ask.how).get("best_of", 1) < 2:
            return None
        own = by.info.height, by.info.width, by.info.channels
        for one in self.among:
            if "caption" not in one.abilities:
                continue
            alike = own == (one.info.height, one.info.width, one.info.channels)
            if alike and set(by.model.text_tokenizer.languages) <= set(
                one.model.text_tokenizer.languages
            ):
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

    async def describe(self, source: Sent, language: str, num_beams: int = 4) -> str | None:
        """An image in words; None where no run here has them."""
        by = self.able("caption")
        if by is None:
            return None
        text_tokenizer = by.model.text_tokenizer
        chosen = (
            language if language in text_tokenizer.languages else text_tokenizer.default_language
        )

        def task(rows: Sequence[np.ndarray]) -> Iterator[list[str]]:
            found = by.model.caption(Images(np.stack(rows)), language=chosen, num_beams=num_beams)
            yield [row[0].text for row in found]

        rows = [source.fitted(by.info)]
        return (await finish(by, ("caption", chosen, num_beams), task, rows))[0]

    async def embed(self, sources: Sequence[Sent]) -> tuple[Served, list[np.ndarray]]:
        """A vector of each image."""
        by = self.required("embed")

        def task(rows: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
            yield list(by.model.embed(Images(np.stack(rows))))

        rows = [source.fitted(by.info) for source in sources]
        return by, await finish(by, "embed", task, rows)


# -- each ability as a task: rows of all requests of a batch to their results ---------------------


def stages(choice: Choice, ask: Ask) -> int:
    """In about how many stages an image grows before it is whole."""
    by = choice.able("complete") if ask.mask is not None else None
    if by is None:
        wanted = ("edit", "draw", "encode") if ask.source is not None else ("draw", "sample")
        by = choice.able(*wanted)
    model = None if by is None else by.model
    if isinstance(model, CanDraw | CanEdit | CanSampleStream):
        return model.num_progress_steps
    return len(STEPS) + 1
